/** The console's API as the page uses it. Rates are per second, latencies milliseconds, sizes bytes per second. */

export type Health = "ok" | "degraded" | "failing" | "idle";

export type NodeKind = "workload" | "service" | "gateway" | "external" | "unknown";

export interface MeshNode {
  id: string;
  kind: NodeKind;
  name: string;
  namespace: string;
  app: string;
  version: string;
  workload: string;
  service: string | null;
  health: Health;
  reason: string;
  /** Requests that arrive, per second. */
  rate: number;
  /** 0 to 1. */
  error_rate: number;
  /** Requests per second in each slot of the window, the oldest first. */
  sparkline: number[];
  ready: number;
  replicas: number;
  meshed: boolean;
}

export interface MeshEdge {
  id: string;
  source: string;
  target: string;
  protocol: "http" | "grpc" | "tcp";
  rate: number;
  error_rate: number;
  p50: number | null;
  p95: number | null;
  p99: number | null;
  /** Requests per second by status code. */
  codes: Record<string, number>;
  /** Requests per second by Envoy's response flags. */
  flags: Record<string, number>;
  /** The share of the traffic that went by mutual TLS, 0 to 1. */
  mtls: number;
  received: number;
  sent: number;
  health: Health;
  reason: string;
  source_principal: string;
  destination_principal: string;
  route: string;
}

export interface Graph {
  /** When it was made, seconds since the epoch. */
  time: number;
  /** Seconds of traffic that it covers. */
  window: number;
  /** The configuration snapshot in force. */
  version: number;
  mesh: string;
  nodes: MeshNode[];
  edges: MeshEdge[];
}

export interface Status {
  mesh: string;
  pid: number;
  runtime: string;
  version: string;
  gateways: Record<string, string>;
  workloads: { name: string; namespace: string; kind: string; ready: number; replicas: number; meshed: boolean }[];
}
