import { expect, test } from "vitest";
import { curveBetween, pathOf, pointAt, strokeWidth } from "./curve";

const LEFT = { x: 0, y: 0, width: 184, height: 48 };
const RIGHT = { x: 304, y: 100, width: 184, height: 48 };

test("a curve goes from the right side of one card to the left side of the next", () => {
  const curve = curveBetween(LEFT, RIGHT);
  expect(pointAt(curve, 0)).toEqual({ x: 184, y: 24 });
  expect(pointAt(curve, 1)).toEqual({ x: 304, y: 124 });
  expect(pointAt(curve, 0.5)).toEqual({ x: 244, y: 74 });
  expect(pathOf(curve)).toBe("M184 24C244 24 244 124 304 124");
});

test("backwards it leaves to the right all the same", () => {
  const [from, leaving] = curveBetween(RIGHT, LEFT);
  expect(leaving.x).toBeGreaterThan(from.x);
});

test("widths are between 1 and 4", () => {
  expect([0, 9, 999, 1e6].map(strokeWidth)).toEqual([1, 2, 4, 4]);
});
