import type { Graph, Status } from "../../api/types";
import { IconButton } from "../../ui/IconButton";
import { EdgeDetails } from "./EdgeDetails";
import type { Selection } from "./focus";
import { NodeDetails } from "./NodeDetails";
import { Overview } from "./Overview";
import styles from "./Panel.module.css";

interface Props {
  graph: Graph;
  status: Status | undefined;
  selection: Selection | null;
  onSelect: (selection: Selection | null) => void;
}

/** What is to be known about the selection; about the mesh while there is none. */
export function Panel({ graph, status, selection, onSelect }: Props) {
  return (
    <aside className={styles.panel} aria-label="Details" data-selected={selection !== null || undefined}>
      {selection && (
        <span className={styles.close}>
          <IconButton icon="close" label="Close the details" onClick={() => onSelect(null)} />
        </span>
      )}
      <Content graph={graph} status={status} selection={selection} onSelect={onSelect} />
    </aside>
  );
}

function Content({ graph, status, selection, onSelect }: Props) {
  if (selection === null) return <Overview graph={graph} status={status} onSelect={onSelect} />;
  if (selection.kind === "edge") {
    const edge = graph.edges.find(({ id }) => id === selection.id);
    return edge ? <EdgeDetails graph={graph} edge={edge} /> : <Gone />;
  }
  const node = graph.nodes.find(({ id }) => id === selection.id);
  return node ? <NodeDetails graph={graph} node={node} status={status} onSelect={onSelect} /> : <Gone />;
}

function Gone() {
  return (
    <header>
      <h2>Not in this picture</h2>
      <p className={styles.kind}>It had no traffic in the time shown, or it is gone. A longer window may have it.</p>
    </header>
  );
}
