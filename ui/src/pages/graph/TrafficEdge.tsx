import { EdgeLabelRenderer, useStore, type Edge, type EdgeProps } from "@xyflow/react";
import type { MeshEdge } from "../../api/types";
import { Icon } from "../../ui/Icon";
import { pathOf, strokeWidth, type Curve, type Point } from "./curve";
import { isLabelShown, labelScale, type LabelText } from "./labels";
import styles from "./TrafficEdge.module.css";

export type TrafficEdgeType = Edge<
  {
    edge: MeshEdge;
    curve: Curve;
    labelPlace: Point;
    text: LabelText;
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

export function TrafficEdge({ data }: EdgeProps<TrafficEdgeType>) {
  const zoom = useStore(({ transform }) => transform[2]);
  if (!data) return null;
  const { edge, curve, labelPlace, text, isPlain, isSelected, isHovered, isDim, onSelect, onHover } = data;
  const path = pathOf(curve);
  const isShown = isLabelShown(edge, zoom) || isHovered || isSelected;
  const volume = edge.protocol === "tcp" ? (edge.received + edge.sent) / 1000 : edge.rate;
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
        <path className={styles.line} d={path} strokeWidth={strokeWidth(volume)} />
      </g>
      <EdgeLabelRenderer>
        <button
          type="button"
          className={`${styles.label} nodrag nopan`}
          style={{
            transform: `translate(-50%, -50%) translate(${labelPlace.x}px, ${labelPlace.y}px) scale(${labelScale(zoom)})`,
          }}
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
          {text.figure}
          {text.errors && <em>{text.errors}</em>}
        </button>
      </EdgeLabelRenderer>
    </>
  );
}
