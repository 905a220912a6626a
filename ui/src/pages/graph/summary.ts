import type { Graph } from "../../api/types";
import { isPlain } from "./health";

export interface Summary {
  /** Requests per second that enter the graph: those of callers whom nobody calls. */
  entering: number;
  /** The share of all requests that failed, hop by hop. */
  errors: number;
  /** The share of the traffic that could go by mutual TLS and did; null where there is none. */
  mtls: number | null;
}

export function summarize(graph: Graph): Summary {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const called = new Set(graph.edges.map(({ target }) => target));
  const total = graph.edges.reduce((sum, { rate }) => sum + rate, 0);
  const failed = graph.edges.reduce((sum, { rate, error_rate }) => sum + rate * error_rate, 0);
  let [secured, securable] = [0, 0];
  for (const edge of graph.edges) {
    const isOpen = isPlain({ ...edge, mtls: 0 }, nodes.get(edge.source), nodes.get(edge.target));
    if (!isOpen) continue;
    securable += edge.rate;
    secured += edge.rate * edge.mtls;
  }
  return {
    entering: graph.edges.filter(({ source }) => !called.has(source)).reduce((sum, { rate }) => sum + rate, 0),
    errors: total > 0 ? failed / total : 0,
    mtls: securable > 0 ? secured / securable : null,
  };
}
