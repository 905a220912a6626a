import { useEffect, useRef, useState } from "react";
import type { Layout, Rect } from "./layout";

const DURATION = 300; // ms

/** `share` of the way from one layout to another; what is new stands at its place at once. */
export function between(from: Layout, to: Layout, share: number): Layout {
  const mix = (start: Rect | undefined, end: Rect): Rect =>
    start
      ? {
          x: start.x + (end.x - start.x) * share,
          y: start.y + (end.y - start.y) * share,
          width: start.width + (end.width - start.width) * share,
          height: start.height + (end.height - start.height) * share,
        }
      : end;
  const boxes = new Map(from.boxes.map((box) => [box.id, box]));
  return {
    nodes: new Map([...to.nodes].map(([id, rect]) => [id, mix(from.nodes.get(id), rect)])),
    boxes: to.boxes.map((box) => ({ ...box, ...mix(boxes.get(box.id), box) })),
  };
}

/** The layout on its way: when `layout` is another one, nodes move there instead of jumping. */
export function useMoving(layout: Layout): Layout {
  const [shown, setShown] = useState(layout);
  const last = useRef(layout);
  // An animation is a clock outside React.
  useEffect(() => {
    const from = last.current;
    if (from === layout) return;
    if (window.matchMedia("(prefers-reduced-motion: reduce)").matches) {
      last.current = layout;
      setShown(layout);
      return;
    }
    const started = performance.now();
    let frame = requestAnimationFrame(function step(now) {
      const share = Math.min(1, Math.max(0, (now - started) / DURATION));
      last.current = share < 1 ? between(from, layout, 1 - (1 - share) ** 3) : layout;
      setShown(last.current);
      if (share < 1) frame = requestAnimationFrame(step);
    });
    return () => cancelAnimationFrame(frame);
  }, [layout]);
  return shown;
}
