import { Dialog } from "@base-ui/react/dialog";
import { Icon } from "../../ui/Icon";
import { IconButton } from "../../ui/IconButton";
import styles from "./Help.module.css";

const KEYS = [
  ["/", "Find a workload"],
  ["Tab", "Go through workloads and edges"],
  ["Enter", "Show the details of the one in focus"],
  ["Esc", "Close the details, end the search"],
  ["f", "Fit the graph into the view"],
  ["t", "Switch between light and dark"],
  ["?", "This page"],
] as const;

/** The keys and what the drawing means. */
export function Help({ isOpen, onOpen }: { isOpen: boolean; onOpen: (isOpen: boolean) => void }) {
  return (
    <Dialog.Root open={isOpen} onOpenChange={(next) => onOpen(next)}>
      <IconButton icon="help" label="Keys and legend" onClick={() => onOpen(true)} />
      <Dialog.Portal>
        <Dialog.Backdrop className={styles.backdrop} />
        <Dialog.Popup className={styles.popup}>
          <Dialog.Title>Keys and legend</Dialog.Title>
          <dl className={styles.keys}>
            {KEYS.map(([key, meaning]) => (
              <div key={key}>
                <dt>
                  <kbd>{key}</kbd>
                </dt>
                <dd>{meaning}</dd>
              </div>
            ))}
          </dl>
          <ul className={styles.legend}>
            <li data-health="ok">
              <Line />
              <span>Healthy</span>
            </li>
            <li data-health="degraded">
              <Line />
              <span>Degraded: 4xx from 10 %</span>
            </li>
            <li data-health="failing">
              <Line dashes="7 4" />
              <span>Failing: 5xx or no answer from 10 %, 4xx from 20 %</span>
            </li>
            <li data-health="idle">
              <Line dashes="2 5" />
              <span>Idle: known, but no traffic in the window</span>
            </li>
            <li data-health="idle">
              <Icon name="lock" />
              <span>Mutual TLS</span>
            </li>
            <li data-health="degraded">
              <Icon name="unlocked" />
              <span>Plain text where mutual TLS could be</span>
            </li>
            <li data-health="ok">
              <Dot />
              <span>Requests: more of them, more dots; quicker answers, quicker dots</span>
            </li>
            <li data-health="failing">
              <Dot isDiamond />
              <span>Requests that failed</span>
            </li>
          </ul>
          <span className={styles.close}>
            <IconButton icon="close" label="Close" onClick={() => onOpen(false)} />
          </span>
        </Dialog.Popup>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

function Line({ dashes }: { dashes?: string }) {
  return (
    <svg width="32" height="8" aria-hidden="true">
      <path d="M0 4h32" stroke="currentColor" strokeWidth="2" strokeDasharray={dashes} />
    </svg>
  );
}

function Dot({ isDiamond = false }: { isDiamond?: boolean }) {
  return (
    <svg width="32" height="12" aria-hidden="true">
      {isDiamond ? (
        <path d="M16 1l5 5-5 5-5-5z" fill="currentColor" />
      ) : (
        <circle cx="16" cy="6" r="3.5" fill="currentColor" />
      )}
    </svg>
  );
}
