import type { Graph, MeshEdge, MeshNode, Status } from "../../api/types";
import { Sparkline } from "../../ui/Sparkline";
import { fullTitle, HEALTH_WORDS } from "./describe";
import { Fact, Facts, Reason } from "./Facts";
import type { Selection } from "./focus";
import { formatBytes, formatRate, formatShare, formatWindow } from "./format";
import styles from "./Panel.module.css";

interface Props {
  graph: Graph;
  node: MeshNode;
  status: Status | undefined;
  onSelect: (selection: Selection) => void;
}

export function NodeDetails({ graph, node, status, onSelect }: Props) {
  const workload = status?.workloads.find(
    ({ name, namespace }) => name === node.workload && namespace === node.namespace,
  );
  const inbound = graph.edges.filter(({ target }) => target === node.id);
  const outbound = graph.edges.filter(({ source }) => source === node.id);
  return (
    <>
      <header>
        <h2>{fullTitle(node)}</h2>
        <p className={styles.kind}>
          <span data-health={node.health}>{HEALTH_WORDS[node.health]}</span> · {node.kind}
          {node.namespace && ` · ${node.namespace}`}
        </p>
      </header>
      {node.reason && <Reason health={node.health}>{node.reason}</Reason>}
      {workload?.problem && <Reason health="degraded">{workload.problem}</Reason>}
      {node.sparkline.length > 1 && (
        <div data-health={node.health} className={styles.chart}>
          <Sparkline values={node.sparkline} width={268} height={48} isWide />
          <small>requests a second, last {formatWindow(graph.window)}</small>
        </div>
      )}
      <Facts>
        <Fact name="Requests in">{formatRate(node.rate)}</Fact>
        <Fact name="Errors">
          <span data-health={node.error_rate > 0 ? node.health : undefined}>{formatShare(node.error_rate)}</span>
        </Fact>
        {node.kind === "workload" && (
          <>
            <Fact name="Ready">
              <span data-health={node.ready < node.replicas ? "degraded" : undefined}>
                {node.ready} of {node.replicas}
              </span>
            </Fact>
            <Fact name="Workload">
              <code>{node.workload || node.name}</code>
            </Fact>
            {node.service && (
              <Fact name="Service">
                <code>{node.service}</code>
              </Fact>
            )}
            <Fact name="Sidecar">{node.meshed ? "in the mesh" : "none: outside the mesh"}</Fact>
          </>
        )}
      </Facts>
      <Ways title="Called by" edges={inbound} far="source" graph={graph} onSelect={onSelect} />
      <Ways title="Calls" edges={outbound} far="target" graph={graph} onSelect={onSelect} />
    </>
  );
}

interface WaysProps {
  title: string;
  edges: MeshEdge[];
  far: "source" | "target";
  graph: Graph;
  onSelect: (selection: Selection) => void;
}

/** The edges on one side of a node, each a way to its own details. */
function Ways({ title, edges, far, graph, onSelect }: WaysProps) {
  if (edges.length === 0) return null;
  const names = new Map(graph.nodes.map((node) => [node.id, fullTitle(node)]));
  return (
    <section className={styles.part}>
      <h3>{title}</h3>
      <ul className={styles.list}>
        {edges.map((edge) => (
          <li key={edge.id}>
            <button type="button" data-health={edge.health} onClick={() => onSelect({ kind: "edge", id: edge.id })}>
              <i aria-hidden="true" />
              <span>{names.get(edge[far]) ?? edge[far]}</span>
              <span>{edge.protocol === "tcp" ? formatBytes(edge.sent + edge.received) : formatRate(edge.rate)}</span>
            </button>
          </li>
        ))}
      </ul>
    </section>
  );
}
