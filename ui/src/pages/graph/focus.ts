import type { Graph } from "../../api/types";
import { fullTitle } from "./describe";

export type Selection = { kind: "node"; id: string } | { kind: "edge"; id: string };

export function isSame(a: Selection | null, b: Selection | null): boolean {
  return a?.kind === b?.kind && a?.id === b?.id;
}

/** The ids of the nodes and edges to show in full; the rest steps back. Null: all of them. */
export type Lit = ReadonlySet<string> | null;

/** Everything that lies on a way through `focus`: what leads to it and what it leads to. */
export function lightPath(graph: Graph, focus: Selection): Lit {
  const edge = focus.kind === "edge" ? graph.edges.find(({ id }) => id === focus.id) : undefined;
  const lit = new Set<string>([focus.id]);
  const walk = (start: string, near: "source" | "target", far: "source" | "target"): void => {
    const waiting = [start];
    const seen = new Set<string>();
    for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) {
      if (seen.has(id)) continue;
      seen.add(id);
      lit.add(id);
      for (const next of graph.edges.filter((candidate) => candidate[near] === id)) {
        lit.add(next.id);
        waiting.push(next[far]);
      }
    }
  };
  if (edge) {
    walk(edge.source, "target", "source");
    walk(edge.target, "source", "target");
  } else {
    walk(focus.id, "target", "source");
    walk(focus.id, "source", "target");
  }
  return lit;
}

/** The nodes whose name holds every word of `text`, and the edges between them. */
export function lightMatches(graph: Graph, text: string): Lit {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return null;
  const found = graph.nodes.filter((node) => {
    const name = `${fullTitle(node)} ${node.namespace} ${node.health}`.toLowerCase();
    return words.every((word) => name.includes(word));
  });
  const lit = new Set(found.map(({ id }) => id));
  for (const edge of graph.edges) if (lit.has(edge.source) && lit.has(edge.target)) lit.add(edge.id);
  return lit;
}

/** How the requests of one caller to one app are shared out among its versions: [["v1", 0.5], ...], or null. */
export function findSplit(graph: Graph, source: string, target: string): [string, number][] | null {
  const to = graph.nodes.find(({ id }) => id === target);
  if (!to?.app) return null;
  const versions = new Map(
    graph.nodes
      .filter(({ app, namespace }) => app === to.app && namespace === to.namespace)
      .map((n) => [n.id, n.version]),
  );
  const edges = graph.edges.filter((edge) => edge.source === source && versions.has(edge.target));
  const total = edges.reduce((sum, { rate }) => sum + rate, 0);
  if (edges.length < 2 || total === 0) return null;
  return edges
    .map((edge): [string, number] => [versions.get(edge.target) || edge.target, edge.rate / total])
    .sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true }));
}
