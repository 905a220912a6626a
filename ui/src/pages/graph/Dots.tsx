import { useStore, useStoreApi } from "@xyflow/react";
import { useEffect, useRef } from "react";
import type { MeshEdge } from "../../api/types";
import { useTheme } from "../../ui/theme";
import { pointAt, type Curve, type Point } from "./curve";
import styles from "./Dots.module.css";
import { EdgeTraffic } from "./dots";
import { holds, isLabelShown, labelBox, type LabelText } from "./labels";

export interface Way {
  edge: MeshEdge;
  curve: Curve;
  text: LabelText;
  labelPlace: Point;
  isDim: boolean;
}

const FRAME = 1000 / 40; // ms: more would be seen by nobody and cost the laptop's fan

/** The traffic: dots along the edges, all of them on one canvas over the graph. Failures are diamonds. */
export function Dots({ ways, isStill }: { ways: Way[]; isStill: boolean }) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const latest = useRef(ways);
  const store = useStoreApi();
  const theme = useTheme();
  const width = useStore((state) => state.width);
  const height = useStore((state) => state.height);

  useEffect(() => {
    latest.current = ways;
  });

  // A canvas is drawn by hand: on a clock, for as long as traffic flows and motion is welcome.
  useEffect(() => {
    const element = canvas.current;
    const brush = element?.getContext("2d");
    if (!element || !brush) return;
    const ratio = window.devicePixelRatio;
    element.width = Math.round(width * ratio);
    element.height = Math.round(height * ratio);
    if (isStill || window.matchMedia("(prefers-reduced-motion: reduce)").matches) return;

    const tokens = getComputedStyle(document.documentElement);
    const colors = {
      ok: tokens.getPropertyValue("--ok"),
      degraded: tokens.getPropertyValue("--degraded"),
      failing: tokens.getPropertyValue("--failing"),
      idle: tokens.getPropertyValue("--idle"),
    };
    const traffic = new Map<string, EdgeTraffic>();
    let [frame, drawn] = [0, 0];

    const draw = (time: number) => {
      frame = requestAnimationFrame(draw);
      if (time - drawn < FRAME - 2) return;
      drawn = time;
      const now = time / 1000;
      const [x, y, zoom] = store.getState().transform;
      brush.setTransform(1, 0, 0, 1, 0, 0);
      brush.clearRect(0, 0, element.width, element.height);
      brush.setTransform(zoom * ratio, 0, 0, zoom * ratio, x * ratio, y * ratio);
      const labels = latest.current
        .filter(({ edge }) => isLabelShown(edge, zoom))
        .map(({ text, labelPlace }) => labelBox(text, labelPlace, zoom));
      for (const { edge, curve, isDim } of latest.current) {
        const own = traffic.get(edge.id) ?? new EdgeTraffic();
        traffic.set(edge.id, own);
        own.advance(edge.protocol === "tcp" ? { ...edge, rate: (edge.received + edge.sent) / 1000 } : edge, now);
        brush.globalAlpha = isDim ? 0.12 : 1;
        for (const dot of own.dots) {
          const point = pointAt(curve, (now - dot.born) / dot.takes);
          if (labels.some((box) => holds(box, point))) continue;
          brush.fillStyle = dot.isFailure ? colors.failing : colors[edge.health === "failing" ? "ok" : edge.health];
          brush.beginPath();
          if (dot.isFailure) diamond(brush, point.x, point.y, 4.2);
          else brush.arc(point.x, point.y, 2.6, 0, 2 * Math.PI);
          brush.fill();
        }
      }
    };
    frame = requestAnimationFrame(draw);
    return () => cancelAnimationFrame(frame);
  }, [width, height, isStill, theme, store]);

  return <canvas ref={canvas} className={styles.dots} aria-hidden="true" />;
}

function diamond(brush: CanvasRenderingContext2D, x: number, y: number, size: number): void {
  brush.moveTo(x, y - size);
  brush.lineTo(x + size, y);
  brush.lineTo(x, y + size);
  brush.lineTo(x - size, y);
  brush.closePath();
}
