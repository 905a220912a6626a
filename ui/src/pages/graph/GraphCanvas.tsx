import { getViewportForBounds, ReactFlow, ReactFlowProvider, useReactFlow, useStore, Position } from "@xyflow/react";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import type { Graph } from "../../api/types";
import { IconButton } from "../../ui/IconButton";
import { useKeys } from "../../ui/useKeys";
import { curveBetween } from "./curve";
import { edgeLabel, subtitleOf } from "./describe";
import { Dots, type Way } from "./Dots";
import { isSame, lightPath, type Lit, type Selection } from "./focus";
import styles from "./GraphCanvas.module.css";
import { isPlain } from "./health";
import { labelPlace, labelPositions, labelText } from "./labels";
import { layOut, layoutKey, type Layout, type Rect } from "./layout";
import { NodeCard, VersionBox, type BoxNode, type CardNode } from "./NodeCard";
import { TrafficEdge, type TrafficEdgeType } from "./TrafficEdge";
import { useMoving } from "./tween";

const NODE_TYPES = { card: NodeCard, box: VersionBox };
const EDGE_TYPES = { traffic: TrafficEdge };
const ZOOM = { least: 0.25, most: 2, fit: 1.15 };

interface Props {
  graph: Graph;
  selection: Selection | null;
  onSelect: (selection: Selection | null) => void;
  /** What a search leaves in full light. */
  found: Lit;
  /** Old news: nothing moves. */
  isStill: boolean;
  /** Leave room above for a notice. */
  hasNotice: boolean;
}

export function GraphCanvas(props: Props) {
  return (
    <ReactFlowProvider>
      <Canvas {...props} />
    </ReactFlowProvider>
  );
}

function Canvas({ graph, selection, onSelect, found, isStill, hasNotice }: Props) {
  const [hovered, setHovered] = useState<Selection | null>(null);
  const key = layoutKey(graph);
  // The places depend on nothing but the key: figures change four times a second.
  const layout = useMemo(() => layOut(graph), [key]);
  const shown = useMoving(layout);
  const view = useFit(layout, key, hasNotice);

  useKeys({ f: view.fit });

  const lit = hovered ? lightPath(graph, hovered) : found;
  const nodes = drawNodes(graph, shown, selection, lit, onSelect);
  const edges = drawEdges(graph, shown, selection, lit, hovered, onSelect, setHovered);
  const ways = edges.flatMap(({ data }): Way[] => (data ? [data] : []));

  return (
    <div className={styles.canvas} data-still={isStill || undefined}>
      <ReactFlow
        nodes={nodes}
        edges={edges}
        nodeTypes={NODE_TYPES}
        edgeTypes={EDGE_TYPES}
        minZoom={ZOOM.least}
        maxZoom={ZOOM.most}
        nodesDraggable={false}
        nodesConnectable={false}
        nodesFocusable={false}
        edgesFocusable={false}
        elementsSelectable={false}
        zoomOnDoubleClick={false}
        deleteKeyCode={null}
        onMove={view.onMove}
        onPaneClick={() => onSelect(null)}
        onEdgeClick={(_, { id }) => onSelect({ kind: "edge", id })}
        onNodeMouseEnter={(_, { id, type }) => type === "card" && setHovered({ kind: "node", id })}
        onNodeMouseLeave={() => setHovered(null)}
        aria-label="Traffic between the workloads"
      />
      <Dots ways={ways} isStill={isStill} />
      <div className={styles.tools} role="group" aria-label="View">
        <IconButton icon="plus" label="Zoom in" onClick={view.zoomIn} />
        <IconButton icon="minus" label="Zoom out" onClick={view.zoomOut} />
        <IconButton icon="fit" label="Fit the graph into the view" onClick={view.fit} />
      </div>
    </div>
  );
}

/** Keep the whole graph in view, until somebody moves it themselves. */
function useFit(layout: Layout, key: string, hasNotice: boolean) {
  const { setViewport, zoomIn, zoomOut } = useReactFlow();
  const width = useStore((state) => state.width);
  const height = useStore((state) => state.height);
  const isMoved = useRef(false);
  const isFirst = useRef(true);

  const fit = useCallback(() => {
    if (width === 0 || height === 0 || layout.nodes.size === 0) return;
    isMoved.current = false;
    const padding = hasNotice ? ({ top: "260px", x: "6%", bottom: "6%" } as const) : "6%";
    const viewport = getViewportForBounds(boundsOf(layout), width, height, ZOOM.least, ZOOM.fit, padding);
    void setViewport(viewport, { duration: isFirst.current ? 0 : 300 });
    isFirst.current = false;
  }, [layout, width, height, hasNotice, setViewport]);

  // The viewport belongs to React Flow; it follows the layout and the window's size.
  useEffect(() => {
    if (!isMoved.current) fit();
  }, [key, fit]);

  return {
    fit,
    zoomIn: () => void zoomIn({ duration: 150 }),
    zoomOut: () => void zoomOut({ duration: 150 }),
    onMove: (event: unknown) => {
      if (event) isMoved.current = true;
    },
  };
}

function boundsOf({ nodes, boxes }: Layout): Rect {
  const rects = [...nodes.values(), ...boxes];
  const left = Math.min(...rects.map(({ x }) => x));
  const top = Math.min(...rects.map(({ y }) => y));
  const right = Math.max(...rects.map(({ x, width }) => x + width));
  const bottom = Math.max(...rects.map(({ y, height }) => y + height));
  return { x: left, y: top, width: right - left, height: bottom - top };
}

function drawNodes(
  graph: Graph,
  layout: Layout,
  selection: Selection | null,
  lit: Lit,
  onSelect: Props["onSelect"],
): (CardNode | BoxNode)[] {
  const isOneNamespace =
    new Set(graph.nodes.map(({ namespace, kind }) => (kind === "workload" ? namespace : ""))).size <= 2;
  const boxes = layout.boxes.map((box): BoxNode => {
    const isDim = lit !== null && !box.members.some((id) => lit.has(id));
    return { id: box.id, type: "box", ...placed(box), zIndex: -1, data: { title: box.title, isDim } };
  });
  const cards = graph.nodes.flatMap((node): CardNode[] => {
    const rect = layout.nodes.get(node.id);
    if (!rect) return [];
    const own: Selection = { kind: "node", id: node.id };
    const isSelected = isSame(selection, own);
    const data = {
      node,
      subtitle: subtitleOf(node, isOneNamespace),
      isSelected,
      isDim: lit !== null && !lit.has(node.id),
      onSelect: () => onSelect(isSelected ? null : own),
    };
    return [{ id: node.id, type: "card", ...placed(rect), data }];
  });
  return [...boxes, ...cards];
}

/** Where React Flow shall put it. Sizes and handles are told, so that it measures nothing. */
function placed({ x, y, width, height }: Rect) {
  const middle = { y: height / 2, width: 1, height: 1 };
  return {
    position: { x, y },
    width,
    height,
    measured: { width, height },
    handles: [
      { type: "target" as const, position: Position.Left, x: 0, ...middle },
      { type: "source" as const, position: Position.Right, x: width, ...middle },
    ],
  };
}

function drawEdges(
  graph: Graph,
  layout: Layout,
  selection: Selection | null,
  lit: Lit,
  hovered: Selection | null,
  onSelect: Props["onSelect"],
  onHover: (selection: Selection | null) => void,
): TrafficEdgeType[] {
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const positions = labelPositions(graph.edges);
  return graph.edges.flatMap((edge): TrafficEdgeType[] => {
    const [source, target] = [nodes.get(edge.source), nodes.get(edge.target)];
    const [from, to] = [layout.nodes.get(edge.source), layout.nodes.get(edge.target)];
    if (!source || !target || !from || !to) return [];
    const own: Selection = { kind: "edge", id: edge.id };
    const isSelected = isSame(selection, own);
    const plain = isPlain(edge, source, target);
    const curve = curveBetween(from, to);
    const data = {
      edge,
      curve,
      labelPlace: labelPlace(curve, positions.get(edge.id) ?? 0.5),
      text: labelText(edge),
      label: edgeLabel(edge, source, target, plain),
      isPlain: plain,
      isSelected,
      isHovered: isSame(hovered, own),
      isDim: lit !== null && !lit.has(edge.id),
      onSelect: () => onSelect(isSelected ? null : own),
      onHover: (isOver: boolean) => onHover(isOver ? own : null),
    };
    return [{ id: edge.id, type: "traffic", source: edge.source, target: edge.target, data }];
  });
}
