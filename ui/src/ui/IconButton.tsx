import type { MouseEventHandler } from "react";
import { Icon, type IconName } from "./Icon";
import styles from "./IconButton.module.css";

interface Props {
  icon: IconName;
  label: string;
  onClick: MouseEventHandler<HTMLButtonElement>;
}

export function IconButton({ icon, label, onClick }: Props) {
  return (
    <button type="button" className={styles.button} aria-label={label} title={label} onClick={onClick}>
      <Icon name={icon} />
    </button>
  );
}
