import type { Graph, Health, MeshEdge, MeshNode, Status, WorkloadStatus } from "../../api/types";

const BADNESS: Record<Health, number> = { idle: 0, ok: 1, degraded: 2, failing: 3 };

/** The worst of some healths; idle where there are none. */
export function worstHealth(healths: Health[]): Health {
  return healths.reduce<Health>((worst, health) => (BADNESS[health] > BADNESS[worst] ? health : worst), "idle");
}

/**
 * The colour of a status code: 5xx, gRPC's errors and no response (0) fail, 4xx degrade. Kiali's defaults count them
 * so too.
 */
export function codeHealth(code: string, protocol: MeshEdge["protocol"]): Health {
  const status = Number(code);
  if (protocol === "grpc" && status < 100) return status === 0 ? "ok" : "failing";
  if (!(status >= 100) || status >= 500) return "failing";
  return status >= 400 ? "degraded" : "ok";
}

export type Problem = { kind: "node"; node: MeshNode } | { kind: "edge" | "plain"; edge: MeshEdge };

/**
 * What is not well, the worst first: unhealthy nodes and edges, and edges without mutual TLS. A node whose edges say the
 * same already is left out.
 */
export function findProblems(graph: Graph): Problem[] {
  const edges = graph.edges.filter(({ health }) => BADNESS[health] >= BADNESS.degraded);
  const told = new Set(edges.map(({ target }) => target));
  const nodes = graph.nodes.filter(({ id, health }) => BADNESS[health] >= BADNESS.degraded && !told.has(id));
  const byId = new Map(graph.nodes.map((node) => [node.id, node]));
  const plain = graph.edges.filter((edge) => isPlain(edge, byId.get(edge.source), byId.get(edge.target)));
  const problems: Problem[] = [
    ...nodes.map((node): Problem => ({ kind: "node", node })),
    ...edges.map((edge): Problem => ({ kind: "edge", edge })),
    ...plain.map((edge): Problem => ({ kind: "plain", edge })),
  ];
  return problems.sort((a, b) => BADNESS[problemHealth(b)] - BADNESS[problemHealth(a)]);
}

/** The workloads whose instances are not all ready. */
export function findWaiting({ workloads }: Status): WorkloadStatus[] {
  return workloads.filter(({ ready, replicas }) => ready < replicas);
}

export function problemHealth(problem: Problem): Health {
  switch (problem.kind) {
    case "node":
      return problem.node.health;
    case "edge":
      return problem.edge.health;
    case "plain":
      return "degraded";
  }
}

/**
 * Whether traffic on an edge went without mutual TLS although it could have gone with it. Strangers that call the
 * gateway and hosts outside the mesh have no identity to prove, so there it says nothing.
 */
export function isPlain(edge: MeshEdge, source: MeshNode | undefined, target: MeshNode | undefined): boolean {
  if (edge.rate === 0 && edge.received + edge.sent === 0) return false;
  if (source?.kind === "unknown" || target?.kind === "external" || target?.kind === "unknown") return false;
  return edge.mtls < 0.9995;
}
