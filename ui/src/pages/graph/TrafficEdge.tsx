import { EdgeLabelRenderer, useStore, type Edge, type EdgeProps } from "@xyflow/react";
import type { MeshEdge } from "../../api/types";
import { Icon } from "../../ui/Icon";
import { pathOf, pointAt, strokeWidth, type Curve } from "./curve";
import { formatBytes, formatRate, formatShare } from "./format";
import styles from "./TrafficEdge.module.css";

export type TrafficEdgeType = Edge<
  {
    edge: MeshEdge;
    curve: Curve;
    label: string;
    isPlain: boolean;
    isSelected: boolean;
    isHovered: boolean;
    isDim: boolean;
    onSelect: () => void;
    onHover: (isOver: boolean) => void;
  },
  "traffic"
>;

/** Labels below this zoom would be a blur: they wait for a pointer or the focus. */
const READABLE = 0.55;
/** A little past the middle, where the edges of one caller are apart already. */
const LABEL_AT = 0.58;

export function TrafficEdge({ data }: EdgeProps<TrafficEdgeType>) {
  const zoom = useStore(({ transform }) => transform[2]);
  if (!data) return null;
  const { edge, curve, isPlain, isSelected, isHovered, isDim, onSelect, onHover } = data;
  const isTcp = edge.protocol === "tcp";
  const isIdle = edge.health === "idle";
  const path = pathOf(curve);
  const { x, y } = pointAt(curve, LABEL_AT);
  const isShown = (zoom >= READABLE && !isIdle) || isHovered || isSelected;
  const scale = Math.min(1.4, Math.max(1, 0.92 / zoom));
  return (
    <>
      <g
        className={styles.edge}
        data-health={edge.health}
        data-dim={isDim || undefined}
        data-selected={isSelected || undefined}
        onPointerEnter={() => onHover(true)}
        onPointerLeave={() => onHover(false)}
      >
        <path className={styles.reach} d={path} />
        <path className={styles.halo} d={path} />
        <path className={styles.line} d={path} strokeWidth={strokeWidth(isTcp ? (edge.received + edge.sent) / 1000 : edge.rate)} />
      </g>
      <EdgeLabelRenderer>
        <button
          type="button"
          className={`${styles.label} nodrag nopan`}
          style={{ transform: `translate(-50%, -50%) translate(${x}px, ${y}px) scale(${scale})` }}
          data-health={edge.health}
          data-shown={isShown || undefined}
          data-dim={isDim || undefined}
          aria-label={data.label}
          aria-pressed={isSelected}
          onClick={onSelect}
          onPointerEnter={() => onHover(true)}
          onPointerLeave={() => onHover(false)}
        >
          <span className={isPlain ? styles.plain : styles.lock}>
            {isPlain ? <Icon name="unlocked" /> : edge.mtls > 0 && <Icon name="lock" />}
          </span>
          {isTcp ? formatBytes(edge.received + edge.sent) : formatRate(edge.rate)}
          {edge.error_rate >= 0.0005 && <em>{formatShare(edge.error_rate)}</em>}
        </button>
      </EdgeLabelRenderer>
    </>
  );
}
