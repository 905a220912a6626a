import { useQueryClient, type QueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { get } from "./client";
import { isRefusal } from "./queries";
import { EventParser } from "./sse";
import type { Graph } from "./types";

/** The event stream as it is now. `lastEvent` is a time of this clock in ms, or null before the first event. */
export type Link =
  | { kind: "connecting"; lastEvent: number | null }
  | { kind: "open"; lastEvent: number }
  | { kind: "lost"; lastEvent: number | null };

const PAUSES = [500, 1000, 2000, 5000];

/** Keep the graph of `window` seconds current by the event stream, for as long as the component lives. */
export function useGraphEvents(window: number, token: string | null): Link {
  const client = useQueryClient();
  const [link, setLink] = useState<Link>({ kind: "connecting", lastEvent: null });
  // An external connection is what effects are for: it is opened with the window and closed with it.
  useEffect(() => {
    if (token === null) return;
    const abort = new AbortController();
    void follow(window, client, setLink, abort.signal);
    return () => abort.abort();
  }, [window, token, client]);
  return link;
}

async function follow(
  window: number,
  client: QueryClient,
  report: (change: (link: Link) => Link) => void,
  signal: AbortSignal,
): Promise<void> {
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const response = await get(`/devmesh/v1/events?topics=graph&window=${window}`, signal);
      failures = 0;
      report(() => ({ kind: "open", lastEvent: Date.now() }));
      await read(response, window, client, () => report(() => ({ kind: "open", lastEvent: Date.now() })));
    } catch (error) {
      if (signal.aborted) return;
      if (isRefusal(error)) {
        report(({ lastEvent }) => ({ kind: "lost", lastEvent }));
        return;
      }
    }
    if (signal.aborted) return;
    report(({ lastEvent }) => ({ kind: "lost", lastEvent }));
    await new Promise((resolve) => setTimeout(resolve, PAUSES[Math.min(failures, PAUSES.length - 1)]));
  }
}

async function read(response: Response, window: number, client: QueryClient, touched: () => void): Promise<void> {
  if (response.body === null) return;
  const parser = new EventParser();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const events = parser.push(value);
    if (events.length > 0) touched();
    const latest = events.findLast(({ event }) => event === "graph");
    if (latest) {
      const graph: Graph = JSON.parse(latest.data);
      client.setQueryData(["graph", window], graph);
    }
  }
}
