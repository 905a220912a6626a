import type { Graph, Status, WorkloadStatus } from "../../api/types";
import { fullTitle, HEALTH_WORDS, mtlsWords } from "./describe";
import { Fact, Facts } from "./Facts";
import type { Selection } from "./focus";
import { formatRate, formatShare } from "./format";
import { findProblems, findWaiting, problemHealth, type Problem } from "./health";
import styles from "./Panel.module.css";
import { summarize } from "./summary";

interface Props {
  graph: Graph;
  status: Status | undefined;
  onSelect: (selection: Selection) => void;
}

/** The mesh as a whole, while nothing is selected. */
export function Overview({ graph, status, onSelect }: Props) {
  const { entering, errors, mtls } = summarize(graph);
  const problems = findProblems(graph);
  const waiting = status ? findWaiting(status) : [];
  return (
    <>
      <header>
        <h2>{graph.mesh}</h2>
        <p className={styles.kind}>
          {status ? `runs as ${status.runtime === "docker" ? "containers" : "processes"}` : "the mesh"}
        </p>
      </header>
      <Facts>
        <Fact name="Requests in">{formatRate(entering)}</Fact>
        <Fact name="Errors">{formatShare(errors)}</Fact>
        {mtls !== null && <Fact name="Mutual TLS">{formatShare(mtls)}</Fact>}
        {status && (
          <Fact name="Workloads ready">
            {status.workloads.length - waiting.length} of {status.workloads.length}
          </Fact>
        )}
        {Object.entries(status?.gateways ?? {}).map(([name, address]) => (
          <Fact key={name} name={`Gateway ${name}`}>
            <code>{address}</code>
          </Fact>
        ))}
      </Facts>
      <section className={styles.part}>
        <h3>Needs attention</h3>
        {problems.length + waiting.length === 0 && <p className={styles.calm}>Nothing. All traffic is healthy.</p>}
        <ul className={styles.list}>
          {waiting.map((workload) => (
            <Waiting
              key={`${workload.namespace}/${workload.name}`}
              workload={workload}
              graph={graph}
              onSelect={onSelect}
            />
          ))}
          {problems.map((problem) => (
            <li key={keyOf(problem)}>
              <button type="button" data-health={problemHealth(problem)} onClick={() => onSelect(selectionOf(problem))}>
                <i aria-hidden="true" />
                <span>
                  {nameOf(problem, graph)}
                  <small>{reasonOf(problem)}</small>
                </span>
              </button>
            </li>
          ))}
        </ul>
      </section>
    </>
  );
}

interface WaitingProps {
  workload: WorkloadStatus;
  graph: Graph;
  onSelect: (selection: Selection) => void;
}

/** A workload whose instances are not all ready, and why. */
function Waiting({ workload: { name, namespace, ready, replicas, problem }, graph, onSelect }: WaitingProps) {
  const node = graph.nodes.find((candidate) => candidate.workload === name && candidate.namespace === namespace);
  return (
    <li>
      <button type="button" data-health="degraded" onClick={() => node && onSelect({ kind: "node", id: node.id })}>
        <i aria-hidden="true" />
        <span>
          {name}: {ready} of {replicas} ready
          <small>{problem}</small>
        </span>
      </button>
    </li>
  );
}

function selectionOf(problem: Problem): Selection {
  return problem.kind === "node" ? { kind: "node", id: problem.node.id } : { kind: "edge", id: problem.edge.id };
}

function keyOf(problem: Problem): string {
  return `${problem.kind} ${selectionOf(problem).id}`;
}

function nameOf(problem: Problem, graph: Graph): string {
  if (problem.kind === "node") return fullTitle(problem.node);
  const name = (wanted: string) => {
    const node = graph.nodes.find(({ id }) => id === wanted);
    return node ? fullTitle(node) : wanted;
  };
  return `${name(problem.edge.source)} → ${name(problem.edge.target)}`;
}

function reasonOf(problem: Problem): string {
  if (problem.kind === "plain") return mtlsWords(problem.edge.mtls);
  const { reason, error_rate } = problem.kind === "node" ? problem.node : problem.edge;
  return reason || `${HEALTH_WORDS[problemHealth(problem)]}: ${formatShare(error_rate)} errors`;
}
