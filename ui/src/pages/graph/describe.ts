import type { Health, MeshEdge, MeshNode } from "../../api/types";
import { formatBytes, formatNumber, formatShare } from "./format";

/** The name on a node's card. */
export function titleOf(node: MeshNode): string {
  if (node.kind === "workload") return node.app || node.name;
  if (node.kind === "gateway") return node.name.replace(/^istio-/, "");
  return node.kind === "unknown" ? "outside" : node.name;
}

/** The small line under the name. */
export function subtitleOf(node: MeshNode, isOneNamespace: boolean): string {
  const what = whatOf(node);
  return isOneNamespace || node.kind === "unknown" || node.kind === "external" ? what : `${what} · ${node.namespace}`;
}

function whatOf(node: MeshNode): string {
  if (node.kind === "unknown") return "callers";
  if (node.kind !== "workload") return node.kind;
  return node.version || (node.name === titleOf(node) ? "workload" : node.name);
}

/** One line for both: "reviews v3". */
export function fullTitle(node: MeshNode): string {
  return node.kind === "workload" && node.version ? `${titleOf(node)} ${node.version}` : titleOf(node);
}

/** What a screen reader says for a node: "reviews v3, degraded, 2.5 requests a second". */
export function nodeLabel(node: MeshNode): string {
  const parts = [fullTitle(node), node.health];
  if (node.rate > 0) parts.push(`${formatNumber(node.rate)} requests a second`);
  if (node.error_rate > 0) parts.push(`${formatShare(node.error_rate)} errors`);
  if (!node.meshed && node.kind === "workload") parts.push("not in the mesh");
  if (node.ready < node.replicas) parts.push(`${node.ready} of ${node.replicas} ready`);
  return parts.join(", ");
}

/** What a screen reader says for an edge. */
export function edgeLabel(edge: MeshEdge, source: MeshNode, target: MeshNode, isPlain: boolean): string {
  const parts = [`${fullTitle(source)} to ${fullTitle(target)}`, edge.health];
  if (edge.protocol === "tcp") parts.push(`${formatBytes(edge.received + edge.sent)}`);
  else if (edge.rate > 0) parts.push(`${formatNumber(edge.rate)} requests a second`);
  if (edge.error_rate > 0) parts.push(`${formatShare(edge.error_rate)} errors`);
  if (isPlain) parts.push("no mutual TLS");
  return parts.join(", ");
}

export const HEALTH_WORDS: Record<Health, string> = {
  ok: "Healthy",
  degraded: "Degraded",
  failing: "Failing",
  idle: "Idle",
};

/** @param share 0 to 1 */
export function mtlsWords(share: number): string {
  if (share >= 0.9995) return "Mutual TLS";
  return share > 0 ? `Mutual TLS for ${formatShare(share)}, the rest in plain text` : "Plain text, no mutual TLS";
}

/** Envoy's response flags in words. */
const FLAGS: Record<string, string> = {
  DC: "the caller went away",
  DI: "delayed by a fault rule",
  FI: "aborted by a fault rule",
  LH: "health check failed",
  LR: "reset by the proxy",
  NC: "no such cluster",
  NR: "no route",
  RL: "rate limited",
  UAEX: "denied by external authorization",
  UC: "upstream closed the connection",
  UF: "could not connect",
  UH: "no healthy endpoint",
  UO: "circuit breaker open",
  UR: "reset by upstream",
  URX: "retries used up",
  UT: "timed out",
};

export function flagMeaning(flags: string): string {
  return flags
    .split(",")
    .map((flag) => FLAGS[flag] ?? flag)
    .join(", ");
}
