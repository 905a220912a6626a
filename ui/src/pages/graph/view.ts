import { isRefusal } from "../../api/queries";
import type { Link } from "../../api/live";
import type { Graph } from "../../api/types";

/** Two of the stream's pings (one each 5 s) are overdue by then. */
export const STALE_AFTER = 12_000;
/** A stream that broke off is usually back by then. */
const LOST_AFTER = 3000;

/** Everything that the page can be. */
export type View =
  | { kind: "no-token"; wasRefused: boolean }
  | { kind: "loading" }
  | { kind: "failed"; error: Error }
  | { kind: "live"; graph: Graph }
  | { kind: "stale"; graph: Graph; lastEvent: number | null };

interface Known {
  token: string | null;
  graph: Graph | undefined;
  error: Error | null;
  link: Link;
  /** This clock's time in ms. */
  now: number;
}

export function viewOf({ token, graph, error, link, now }: Known): View {
  if (token === null) return { kind: "no-token", wasRefused: false };
  if (isRefusal(error)) return { kind: "no-token", wasRefused: true };
  if (graph === undefined) return error ? { kind: "failed", error } : { kind: "loading" };
  const age = link.lastEvent === null ? null : now - link.lastEvent;
  const isOld = age === null ? link.kind === "lost" : age > (link.kind === "lost" ? LOST_AFTER : STALE_AFTER);
  if (isOld) return { kind: "stale", graph, lastEvent: link.lastEvent };
  return { kind: "live", graph };
}

export function hasTraffic(graph: Graph): boolean {
  return graph.edges.some(({ rate, received, sent }) => rate > 0 || received > 0 || sent > 0);
}
