import type { Selection } from "./pages/graph/focus";

export const WINDOWS = [60, 300, 600, 1800, 3600] as const;
const FIRST_WINDOW = 60;

/** What the graph page shows, all of it in the URL: copy it to a colleague and they see the same. */
export interface GraphState {
  /** Seconds of traffic. */
  window: number;
  selection: Selection | null;
  find: string;
}

export function readGraphState(search: URLSearchParams): GraphState {
  const window = Number(search.get("window"));
  const [node, edge] = [search.get("node"), search.get("edge")];
  return {
    window: WINDOWS.some((known) => known === window) ? window : FIRST_WINDOW,
    selection: node !== null ? { kind: "node", id: node } : edge !== null ? { kind: "edge", id: edge } : null,
    find: search.get("find") ?? "",
  };
}

/** The query of a graph page; what is as it is at first is left out. */
export function writeGraphState({ window, selection, find }: GraphState): URLSearchParams {
  const search = new URLSearchParams();
  if (window !== FIRST_WINDOW) search.set("window", String(window));
  if (selection) search.set(selection.kind, selection.id);
  if (find) search.set("find", find);
  return search;
}
