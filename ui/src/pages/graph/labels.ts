import type { MeshEdge } from "../../api/types";
import { pointAt, type Curve, type Point } from "./curve";
import { formatBytes, formatRate, formatShare } from "./format";
import type { Rect } from "./layout";

/** Below this zoom labels would be a blur: they wait for a pointer or the focus. */
const READABLE = 0.5;
/** Of a label at scale 1: its height, what stands around the text, and a figure's breadth. */
const [HEIGHT, AROUND, LETTER] = [20, 30, 6.1];

export interface LabelText {
  figure: string;
  errors: string;
}

export function labelText(edge: MeshEdge): LabelText {
  return {
    figure: edge.protocol === "tcp" ? formatBytes(edge.received + edge.sent) : formatRate(edge.rate),
    errors: edge.error_rate >= 0.0005 ? formatShare(edge.error_rate) : "",
  };
}

/**
 * Where on each edge its label stands, 0 to 1: where it is apart from its neighbours. Edges of one caller part towards
 * their ends, edges to one destination meet there.
 */
export function labelPositions(edges: MeshEdge[]): Map<string, number> {
  const count = (side: "source" | "target") =>
    edges.reduce(
      (counts, edge) => counts.set(edge[side], (counts.get(edge[side]) ?? 0) + 1),
      new Map<string, number>(),
    );
  const [out, into] = [count("source"), count("target")];
  const place = ({ source, target }: MeshEdge) => {
    if ((out.get(source) ?? 0) > 1) return 0.6;
    return (into.get(target) ?? 0) > 1 ? 0.36 : 0.5;
  };
  return new Map(edges.map((edge) => [edge.id, place(edge)]));
}

/**
 * The middle of a label that stands at `t` of a curve. Over a level edge it stands above the line, which it would hide
 * from end to end; a steep one passes under it.
 */
export function labelPlace(curve: Curve, t: number): Point {
  const { x, y } = pointAt(curve, t);
  const [from, , , to] = curve;
  const level = Math.max(0, 1 - Math.abs(to.y - from.y) / 48);
  return { x, y: y - level * (HEIGHT / 2 + 5) };
}

export function isLabelShown(edge: MeshEdge, zoom: number): boolean {
  return zoom >= READABLE && edge.health !== "idle";
}

/** Labels shrink less than the graph does, so that figures can be read for longer. */
export function labelScale(zoom: number): number {
  return Math.min(1.5, Math.max(1, 0.92 / zoom));
}

/** About where a label is, in the graph's coordinates: dots pass under it. */
export function labelBox({ figure, errors }: LabelText, place: Point, zoom: number): Rect {
  const scale = labelScale(zoom);
  const letters = figure.length + (errors ? errors.length + 0.7 : 0);
  const [width, height] = [(AROUND + letters * LETTER) * scale, HEIGHT * scale];
  return { x: place.x - width / 2, y: place.y - height / 2, width, height };
}

export function holds(box: Rect, { x, y }: Point): boolean {
  return x > box.x && x < box.x + box.width && y > box.y && y < box.y + box.height;
}
