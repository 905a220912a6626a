import type { Ref } from "react";
import type { Status } from "../../api/types";
import { WINDOWS } from "../../paths";
import { Choice } from "../../ui/Choice";
import { SearchField } from "../../ui/SearchField";
import { ThemeSwitch } from "../../ui/ThemeSwitch";
import { formatWindow } from "./format";
import { findWaiting } from "./health";
import { Help } from "./Help";
import styles from "./TopBar.module.css";
import type { View } from "./view";

const WINDOW_ITEMS = WINDOWS.map((value) => ({ value, label: `Last ${formatWindow(value)}` }));

interface Props {
  view: View;
  status: Status | undefined;
  now: number;
  window: number;
  onWindow: (window: number) => void;
  find: string;
  onFind: (text: string) => void;
  findRef: Ref<HTMLInputElement>;
  isHelpOpen: boolean;
  onHelp: (isOpen: boolean) => void;
}

export function TopBar(props: Props) {
  const { view, status, now, window, onWindow, find, onFind, findRef, isHelpOpen, onHelp } = props;
  const hasGraph = view.kind === "live" || view.kind === "stale";
  const mesh = hasGraph ? view.graph.mesh : status?.mesh;
  return (
    <header className={styles.bar}>
      <title>{mesh ? `${mesh} · devmesh` : "devmesh"}</title>
      <h1 className={styles.brand}>
        <Mark />
        devmesh
      </h1>
      {mesh && <span className={styles.mesh}>{mesh}</span>}
      {view.kind !== "no-token" && (
        <>
          <Choice label="Time window" value={window} items={WINDOW_ITEMS} onChange={onWindow} />
          <SearchField label="Find a workload" hint="/" value={find} onChange={onFind} ref={findRef} />
        </>
      )}
      <Liveness view={view} status={status} now={now} />
      <Help isOpen={isHelpOpen} onOpen={onHelp} />
      <ThemeSwitch />
    </header>
  );
}

/** One line about how fresh all this is. */
function Liveness({ view, status, now }: { view: View; status: Status | undefined; now: number }) {
  const [tone, text] = liveness(view, status, now);
  return (
    <span className={styles.live} data-tone={tone} role="status">
      <i aria-hidden="true" />
      {text}
    </span>
  );
}

function liveness(view: View, status: Status | undefined, now: number): [tone: string, text: string] {
  switch (view.kind) {
    case "loading":
      return ["wait", "connecting"];
    case "no-token":
      return ["off", "not connected"];
    case "failed":
      return ["bad", "no connection"];
    case "stale":
      return ["old", view.lastEvent === null ? "no live updates" : `last event ${age(now - view.lastEvent)} ago`];
    case "live": {
      const words = ["live"];
      if (status) words.push(workloads(status));
      words.push(`snapshot ${view.graph.version}`);
      return ["good", words.join(" · ")];
    }
  }
}

function workloads(status: Status): string {
  const all = status.workloads.length;
  const ready = all - findWaiting(status).length;
  if (ready < all) return `${ready} of ${all} workloads ready`;
  return all === 1 ? "1 workload" : `${all} workloads`;
}

function age(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  return seconds < 120 ? `${seconds} s` : `${Math.round(seconds / 60)} min`;
}

function Mark() {
  return (
    <svg viewBox="0 0 20 20" width="20" height="20" aria-hidden="true">
      <g fill="none" stroke="currentColor" strokeWidth="1.6">
        <path d="M4 10c6 0 6-5 12-5M4 10c6 0 6 5 12 5" />
      </g>
      <g fill="currentColor">
        <circle cx="4" cy="10" r="2.4" />
        <circle cx="16" cy="5" r="2.4" />
        <circle cx="16" cy="15" r="2.4" />
      </g>
    </svg>
  );
}
