import type { ReactNode } from "react";
import styles from "./Notice.module.css";

interface Props {
  title: string;
  children: ReactNode;
  isAlert?: boolean;
}

/** What stands where data would be: what is the matter, why, and what to do next. */
export function Notice({ title, children, isAlert = false }: Props) {
  return (
    <section className={styles.notice} role={isAlert ? "alert" : "status"} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </section>
  );
}
