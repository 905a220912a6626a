import type { Status } from "../../api/types";
import { ApiError } from "../../api/client";
import { Command } from "../../ui/Command";
import { Notice } from "../../ui/Notice";
import { wordWindow } from "./format";
import styles from "./States.module.css";

/** What the page shows where there is no graph to show. */

export function NoToken({ wasRefused }: { wasRefused: boolean }) {
  return (
    <div className={styles.middle}>
      <Notice
        title={wasRefused ? "This link is not for the mesh that runs now" : "This page needs its link"}
        isAlert={wasRefused}
      >
        <p>
          {wasRefused
            ? "The mesh refused the token that this browser kept. It was probably started anew with another one."
            : "The dashboard opens with a token, and it came with none. The link that devmesh up printed carries it."}
        </p>
        <p>Open that link, or have it printed again:</p>
        <Command text="devmesh status" />
      </Notice>
    </div>
  );
}

export function Failed({ error, onRetry }: { error: Error; onRetry: () => void }) {
  const isAnswer = error instanceof ApiError;
  return (
    <div className={styles.middle}>
      <Notice title={isAnswer ? `The mesh could not answer (${error.status})` : "No answer from devmesh"} isAlert>
        <p>
          {isAnswer
            ? error.message
            : `Nothing answers at ${window.location.host}. The mesh has stopped, or is only starting.`}
        </p>
        <p>
          {isAnswer
            ? "This page tries again by itself. If it stays so, let devmesh look for the cause:"
            : "This page tries again by itself. To start the mesh:"}
        </p>
        <Command text={isAnswer ? "devmesh doctor" : "devmesh up"} />
        <button type="button" className={styles.retry} onClick={onRetry}>
          Try again now
        </button>
      </Notice>
    </div>
  );
}

/** The shape of a graph to come. */
export function Loading() {
  return (
    <div className={styles.middle} role="status" aria-label="Loading the graph">
      <div className={styles.skeleton} aria-hidden="true">
        {["one", "two", "three", "four"].map((name) => (
          <i key={name} />
        ))}
      </div>
    </div>
  );
}

export function NoTraffic({
  window,
  status,
  hasProductpage,
}: {
  window: number;
  status: Status | undefined;
  hasProductpage: boolean;
}) {
  const address = (status?.gateways.http ?? "127.0.0.1:8080").replace(/^127\.0\.0\.1:/, "localhost:");
  return (
    <div className={styles.over}>
      <Notice title={`No traffic in the last ${wordWindow(window)}`}>
        <p>The first request shows here at once.</p>
        <Command text={`curl ${address}/${hasProductpage ? "productpage" : ""}`} />
      </Notice>
    </div>
  );
}
