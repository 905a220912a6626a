import { expect, test } from "vitest";
import { layOut } from "./layout";
import { makeGraph } from "./sample";
import { between } from "./tween";

const one = layOut(makeGraph("a>b"));
const two = layOut(makeGraph("a>b", "c>b", "b v1>d", "b v2>d"));

test("half way is half way", () => {
  const [from, half, to] = [one.nodes.get("a"), between(one, two, 0.5).nodes.get("a"), two.nodes.get("a")];
  expect(half?.y).toBeCloseTo(((from?.y ?? 0) + (to?.y ?? 0)) / 2);
});

test("it ends at the new layout, and what is new is there at once", () => {
  expect(between(one, two, 1)).toEqual(two);
  expect(between(one, two, 0).nodes.get("c")).toEqual(two.nodes.get("c"));
});
