import type { Graph, MeshEdge, MeshNode } from "../../api/types";

/** Nodes and edges for tests: well and busy, unless told otherwise. */
export function makeNode(id: string, more: Partial<MeshNode> = {}): MeshNode {
  const [app = id, version = ""] = id.split(" ");
  return {
    id,
    kind: "workload",
    name: id.replace(" ", "-"),
    namespace: "default",
    app,
    version,
    workload: id.replace(" ", "-"),
    service: app,
    health: "ok",
    reason: "",
    rate: 1,
    error_rate: 0,
    sparkline: [],
    ready: 1,
    replicas: 1,
    meshed: true,
    ...more,
  };
}

export function makeEdge(source: string, target: string, more: Partial<MeshEdge> = {}): MeshEdge {
  return {
    id: `${source}>${target}`,
    source,
    target,
    protocol: "http",
    rate: 1,
    error_rate: 0,
    p50: 10,
    p95: 20,
    p99: 30,
    codes: { "200": 1 },
    flags: {},
    mtls: 1,
    received: 100,
    sent: 100,
    health: "ok",
    reason: "",
    source_principal: "",
    destination_principal: "",
    route: "",
    ...more,
  };
}

/** A graph from edges alone, written "a>b" or "reviews v1>ratings v1". */
export function makeGraph(...edges: (string | MeshEdge)[]): Graph {
  const made = edges.map((edge) => {
    if (typeof edge !== "string") return edge;
    const [source = "", target = ""] = edge.split(">");
    return makeEdge(source, target);
  });
  const ids = new Set(made.flatMap(({ source, target }) => [source, target]));
  return { time: 0, window: 60, version: 1, mesh: "test", nodes: [...ids].map((id) => makeNode(id)), edges: made };
}
