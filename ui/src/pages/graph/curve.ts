import type { Rect } from "./layout";

export interface Point {
  x: number;
  y: number;
}

/** A cubic Bézier: start, two control points, end. */
export type Curve = readonly [Point, Point, Point, Point];

/** The curve from a card's right side to another's left side. Backwards it swings out instead of cutting through. */
export function curveBetween(source: Rect, target: Rect): Curve {
  const from = { x: source.x + source.width, y: source.y + source.height / 2 };
  const to = { x: target.x, y: target.y + target.height / 2 };
  const distance = to.x - from.x;
  const reach = distance >= 0 ? distance / 2 : 6 * Math.sqrt(-distance) + 24;
  return [from, { x: from.x + reach, y: from.y }, { x: to.x - reach, y: to.y }, to];
}

export function pathOf([a, b, c, d]: Curve): string {
  return `M${a.x} ${a.y}C${b.x} ${b.y} ${c.x} ${c.y} ${d.x} ${d.y}`;
}

/** @param t 0 at the start, 1 at the end */
export function pointAt([a, b, c, d]: Curve, t: number): Point {
  const u = 1 - t;
  const [wa, wb, wc, wd] = [u * u * u, 3 * u * u * t, 3 * u * t * t, t * t * t];
  return { x: wa * a.x + wb * b.x + wc * c.x + wd * d.x, y: wa * a.y + wb * b.y + wc * c.y + wd * d.y };
}

/** An edge's width: 1 to 4 by the logarithm of its rate, 4 at a thousand a second. */
export function strokeWidth(rate: number): number {
  return 1 + Math.min(3, Math.max(0, Math.log10(1 + rate)));
}
