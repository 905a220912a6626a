import type { Node, NodeProps } from "@xyflow/react";
import type { MeshNode, NodeKind } from "../../api/types";
import { Icon, type IconName } from "../../ui/Icon";
import { Sparkline } from "../../ui/Sparkline";
import { nodeLabel, titleOf } from "./describe";
import styles from "./NodeCard.module.css";

export type CardNode = Node<
  { node: MeshNode; subtitle: string; isSelected: boolean; isDim: boolean; onSelect: () => void },
  "card"
>;

export type BoxNode = Node<{ title: string; isDim: boolean }, "box">;

const KIND_ICONS: Partial<Record<NodeKind, IconName>> = {
  gateway: "gateway",
  external: "outside",
  service: "service",
  unknown: "person",
};

export function NodeCard({ data: { node, subtitle, isSelected, isDim, onSelect } }: NodeProps<CardNode>) {
  const icon = KIND_ICONS[node.kind];
  const isOutside = node.kind === "workload" && !node.meshed;
  const isStarting = node.ready < node.replicas;
  return (
    <button
      type="button"
      className={styles.card}
      data-health={node.health}
      data-dim={isDim || undefined}
      aria-label={nodeLabel(node)}
      aria-pressed={isSelected}
      onClick={onSelect}
    >
      <span className={styles.words}>
        <span className={styles.title}>
          <b>{titleOf(node)}</b>
        </span>
        <span className={styles.subtitle}>
          {icon && <Icon name={icon} />}
          {(!isOutside || node.version) && <span>{subtitle}</span>}
          {isOutside && <i>no sidecar</i>}
          {isStarting && (
            <i>
              {node.ready}/{node.replicas} ready
            </i>
          )}
        </span>
      </span>
      {node.kind !== "unknown" && <Sparkline values={node.sparkline} width={44} height={20} />}
    </button>
  );
}

/** The box around the versions of one service. */
export function VersionBox({ data: { title, isDim } }: NodeProps<BoxNode>) {
  return (
    <div className={styles.box} data-dim={isDim || undefined}>
      {title}
    </div>
  );
}
