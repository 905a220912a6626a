import type { ReactNode } from "react";
import styles from "./Panel.module.css";

/** Pairs of a name and what it is, the values under each other at the right. */
export function Facts({ children }: { children: ReactNode }) {
  return <dl className={styles.facts}>{children}</dl>;
}

export function Fact({ name, children }: { name: string; children: ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </>
  );
}

/** Why something is not well, in the words of the API. */
export function Reason({ health, children }: { health: string; children: ReactNode }) {
  return (
    <p className={styles.reason} data-health={health}>
      {children}
    </p>
  );
}
