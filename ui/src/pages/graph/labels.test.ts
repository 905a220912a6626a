import { expect, test } from "vitest";
import { curveBetween, pointAt } from "./curve";
import { holds, isLabelShown, labelBox, labelPlace, labelPositions, labelScale, labelText } from "./labels";
import { makeEdge, makeGraph } from "./sample";

const CURVE = curveBetween({ x: 0, y: 0, width: 184, height: 48 }, { x: 304, y: 0, width: 184, height: 48 });

test("a label tells the rate, and errors where there are any", () => {
  expect(labelText(makeEdge("a", "b", { rate: 6.2 }))).toEqual({ figure: "6.2 /s", errors: "" });
  expect(labelText(makeEdge("a", "b", { error_rate: 0.081 })).errors).toBe("8.1 %");
  expect(labelText(makeEdge("a", "b", { protocol: "tcp", received: 1000, sent: 500 })).figure).toBe("1.5 kB/s");
});

test("labels are shown where they can be read, and not on idle edges", () => {
  expect(isLabelShown(makeEdge("a", "b"), 0.8)).toBe(true);
  expect(isLabelShown(makeEdge("a", "b"), 0.3)).toBe(false);
  expect(isLabelShown(makeEdge("a", "b", { health: "idle" }), 1)).toBe(false);
});

test("a label's box lies around its place and fits between two layers", () => {
  const middle = pointAt(CURVE, 0.5);
  const box = labelBox({ figure: "12.4 /s", errors: "" }, middle, 1);
  expect(holds(box, middle)).toBe(true);
  expect(holds(box, { x: 190, y: 24 })).toBe(false);
  expect(box.width).toBeLessThan(100);
});

test("labels grow against the zoom, within bounds", () => {
  expect([2, 0.92, 0.46].map(labelScale)).toEqual([1, 1, 1.5]);
});

test("labels stand where edges are apart", () => {
  const places = labelPositions(makeGraph("page>r1", "page>r2", "r1>ratings", "r2>ratings", "gw>page").edges);
  expect(places.get("page>r1")).toBeGreaterThan(0.5);
  expect(places.get("r1>ratings")).toBeLessThan(0.5);
  expect(places.get("gw>page")).toBe(0.5);
});

test("a label stands above a level edge and on a steep one", () => {
  const steep = curveBetween({ x: 0, y: 0, width: 184, height: 48 }, { x: 304, y: 200, width: 184, height: 48 });
  expect(labelPlace(CURVE, 0.5).y).toBe(pointAt(CURVE, 0.5).y - 15);
  expect(labelPlace(steep, 0.5)).toEqual(pointAt(steep, 0.5));
});
