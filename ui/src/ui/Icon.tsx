import styles from "./Icon.module.css";

/** Line drawings on a grid of 16. */
const PATHS = {
  lock: "M4.5 7.5h7v5.5h-7zM6 7.5V5.4a2 2 0 0 1 4 0v2.1",
  unlocked: "M4.5 7.5h7v5.5h-7zM6 7.5V4.6a2 2 0 0 1 3.8-.8",
  gateway: "M2.5 8h7M7 5l3 3-3 3M13 3v10",
  outside: "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 0 0 0-11M2.5 8h11M8 2.5c-4 3.4-4 7.6 0 11M8 2.5c4 3.4 4 7.6 0 11",
  service: "M8 2.5l5 2.8v5.4l-5 2.8-5-2.8V5.3zM3 5.3l5 2.8 5-2.8M8 8.1v5.4",
  person: "M8 8a2.6 2.6 0 1 0 0-5.2A2.6 2.6 0 0 0 8 8M3 13.4c.6-2.6 2.5-3.9 5-3.9s4.4 1.3 5 3.9",
  plus: "M8 3.5v9M3.5 8h9",
  minus: "M3.5 8h9",
  fit: "M3 6V3h3M10 3h3v3M13 10v3h-3M6 13H3v-3",
  close: "M4 4l8 8M12 4l-8 8",
  copy: "M6 6h7v7H6zM10 3.5V3H3v7h.5",
  check: "M3.5 8.5l3 3 6-7",
  sun: "M8 5.2a2.8 2.8 0 1 0 0 5.6a2.8 2.8 0 0 0 0-5.6M8 1.5v1.3M8 13.2v1.3M1.5 8h1.3M13.2 8h1.3M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  moon: "M12.8 9.6A5.3 5.3 0 0 1 6.4 3.2a5.3 5.3 0 1 0 6.4 6.4z",
  help: "M5.2 5.6a2.9 2.9 0 1 1 4.2 2.5c-1 .5-1.4 1-1.4 2M8 13.2v.1",
  chevron: "M4.5 6.5L8 10l3.5-3.5",
  warning: "M8 2.8l5.7 10.2H2.3zM8 6.5v3M8 11.2v.1",
} as const;

export type IconName = keyof typeof PATHS;

/** A drawing beside words: screen readers pass over it. */
export function Icon({ name }: { name: IconName }) {
  return (
    <svg className={styles.icon} viewBox="0 0 16 16" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}
