import * as dagre from "@dagrejs/dagre";
import type { Graph, MeshNode } from "../../api/types";

export const NODE_HEIGHT = 48;
const NODE_WIDTH = 184;
/** Callers outside the mesh have no traffic of their own to show: a smaller card. */
const OUTSIDE_WIDTH = 104;
/** Room for an edge's label between two layers. */
const LAYER_GAP = 128;
const ROW_GAP = 36;
/** Versions of one service stand in a box. */
const BOX = { side: 12, top: 30, bottom: 12, gap: 20 };
/** Nodes without an edge stand in rows below, not in the way. */
const SHELF_GAP = 24;

export interface Rect {
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Box extends Rect {
  id: string;
  title: string;
  members: string[];
}

export interface Layout {
  /** By node id; left upper corners. */
  nodes: Map<string, Rect>;
  boxes: Box[];
}

/** What a layout depends on: while this stays the same, nothing moves. */
export function layoutKey(graph: Graph): string {
  const nodes = graph.nodes.map(({ id }) => id).sort();
  const edges = graph.edges.map(({ source, target }) => `${source}>${target}`).sort();
  return JSON.stringify([nodes, edges]);
}

/** Place the nodes from left to right along the traffic. The same graph gives the same places, however it is ordered. */
export function layOut(graph: Graph): Layout {
  const nodes = [...graph.nodes].sort(compareNodes);
  const ids = new Set(nodes.map(({ id }) => id));
  const edges = graph.edges.filter(({ source, target }) => ids.has(source) && ids.has(target) && source !== target);
  const connected = new Set(edges.flatMap(({ source, target }) => [source, target]));

  const units = groupVersions(nodes);
  const busy = units.filter(({ members }) => members.some(({ id }) => connected.has(id)));
  const quiet = units.filter((unit) => !busy.includes(unit));
  const unitOf = new Map(units.flatMap((unit) => unit.members.map(({ id }) => [id, unit] as const)));

  const drawing = new dagre.graphlib.Graph();
  drawing.setGraph({ rankdir: "LR", ranksep: LAYER_GAP, nodesep: ROW_GAP, marginx: 0, marginy: 0 });
  drawing.setDefaultEdgeLabel(() => ({}));
  for (const unit of busy) drawing.setNode(unit.id, { ...sizeOf(unit) });
  for (const { source, target } of [...edges].sort((a, b) => compare(a.source + a.target, b.source + b.target))) {
    const [from, to] = [unitOf.get(source)?.id, unitOf.get(target)?.id];
    if (from !== undefined && to !== undefined && from !== to) drawing.setEdge(from, to);
  }
  if (busy.length > 0) dagre.layout(drawing);

  const layout: Layout = { nodes: new Map(), boxes: [] };
  let right = 0;
  let bottom = 0;
  for (const unit of busy) {
    const { x = 0, y = 0 } = drawing.node(unit.id);
    const size = sizeOf(unit);
    place(layout, unit, x - size.width / 2, y - size.height / 2);
    right = Math.max(right, x + size.width / 2);
    bottom = Math.max(bottom, y + size.height / 2);
  }
  shelve(layout, quiet, busy.length > 0 ? bottom + 2 * SHELF_GAP : 0, Math.max(right, 4 * (NODE_WIDTH + SHELF_GAP)));
  return layout;
}

interface Unit {
  id: string;
  title: string;
  members: MeshNode[];
}

/**
 * Workloads of one app in one namespace are one unit, with the Service of that name: it stands for requests that none of
 * them answered. Everything else is a unit by itself.
 */
function groupVersions(nodes: MeshNode[]): Unit[] {
  const units = new Map<string, Unit>();
  for (const node of nodes) {
    const title = node.kind === "workload" ? node.app : node.kind === "service" ? node.name : "";
    const id = title ? `app:${node.namespace}/${title}` : `node:${node.id}`;
    const unit = units.get(id) ?? { id, title, members: [] };
    unit.members.push(node);
    units.set(id, unit);
  }
  return [...units.values()];
}

function widthOf(node: MeshNode): number {
  return node.kind === "unknown" ? OUTSIDE_WIDTH : NODE_WIDTH;
}

function sizeOf({ members }: Unit): { width: number; height: number } {
  const width = Math.max(...members.map(widthOf));
  const height = members.length * NODE_HEIGHT + (members.length - 1) * BOX.gap;
  if (members.length === 1) return { width, height };
  return { width: width + 2 * BOX.side, height: height + BOX.top + BOX.bottom };
}

function place(layout: Layout, unit: Unit, x: number, y: number): void {
  const isBoxed = unit.members.length > 1;
  if (isBoxed) {
    const members = unit.members.map(({ id }) => id);
    layout.boxes.push({ id: unit.id, title: unit.title, members, x, y, ...sizeOf(unit) });
  }
  unit.members.forEach((node, index) => {
    layout.nodes.set(node.id, {
      x: x + (isBoxed ? BOX.side : 0),
      y: y + (isBoxed ? BOX.top : 0) + index * (NODE_HEIGHT + BOX.gap),
      width: widthOf(node),
      height: NODE_HEIGHT,
    });
  });
}

function shelve(layout: Layout, units: Unit[], top: number, room: number): void {
  let [x, y, tallest] = [0, top, 0];
  for (const unit of units) {
    const size = sizeOf(unit);
    if (x > 0 && x + size.width > room) [x, y, tallest] = [0, y + tallest + SHELF_GAP, 0];
    place(layout, unit, x, y);
    x += size.width + SHELF_GAP;
    tallest = Math.max(tallest, size.height);
  }
}

function compareNodes(a: MeshNode, b: MeshNode): number {
  return (
    compare(a.namespace, b.namespace) ||
    compare(a.app, b.app) ||
    a.version.localeCompare(b.version, "en", { numeric: true }) ||
    compare(a.id, b.id)
  );
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
