import { useState } from "react";
import styles from "./Command.module.css";
import { Icon } from "./Icon";

/** A command to type into a terminal, with a button that copies it. */
export function Command({ text }: { text: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
    setTimeout(() => setCopied(false), 1500);
  };
  return (
    <span className={styles.command}>
      <code>{text}</code>
      <button type="button" aria-label={`Copy ${text}`} title="Copy" onClick={() => void copy()}>
        <Icon name={isCopied ? "check" : "copy"} />
        <span aria-live="polite">{isCopied ? "copied" : ""}</span>
      </button>
    </span>
  );
}
