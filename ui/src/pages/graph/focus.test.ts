import { expect, test } from "vitest";
import { findSplit, lightMatches, lightPath } from "./focus";
import { makeEdge, makeGraph } from "./sample";

const GRAPH = makeGraph("gw>page", "page>details", "page>reviews v2", "reviews v2>ratings", "other>ratings");

test("a node lights what leads to it and what it leads to", () => {
  const lit = lightPath(GRAPH, { kind: "node", id: "reviews v2" });
  const ids = ["gw", "gw>page", "page", "page>reviews v2", "reviews v2", "reviews v2>ratings", "ratings"];
  expect([...(lit ?? [])].sort()).toEqual(ids.sort());
});

test("an edge lights its own way only", () => {
  const lit = lightPath(GRAPH, { kind: "edge", id: "page>details" });
  expect([...(lit ?? [])].sort()).toEqual(["details", "gw", "gw>page", "page", "page>details"]);
});

test("a circle ends", () => {
  expect(lightPath(makeGraph("a>b", "b>a"), { kind: "node", id: "a" })?.size).toBe(4);
});

test("finding wants every word, and no word finds all", () => {
  expect([...(lightMatches(GRAPH, "REV v2") ?? [])]).toEqual(["reviews v2"]);
  expect(lightMatches(GRAPH, "rev v9")?.size).toBe(0);
  expect(lightMatches(GRAPH, " ")).toBeNull();
});

test("a split is told in the order of versions", () => {
  const graph = makeGraph(
    makeEdge("page", "reviews v3", { rate: 1 }),
    makeEdge("page", "reviews v1", { rate: 3 }),
    makeEdge("other", "reviews v1", { rate: 9 }),
  );
  expect(findSplit(graph, "page", "reviews v3")).toEqual([
    ["v1", 0.75],
    ["v3", 0.25],
  ]);
  expect(findSplit(graph, "other", "reviews v1")).toBeNull();
});
