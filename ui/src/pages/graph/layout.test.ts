import { expect, test } from "vitest";
import { layOut, layoutKey, type Rect } from "./layout";
import { makeGraph, makeNode } from "./sample";

const BOOKINFO = makeGraph(
  "gateway>productpage v1",
  "productpage v1>details v1",
  "productpage v1>reviews v1",
  "productpage v1>reviews v2",
  "productpage v1>reviews v3",
  "reviews v2>ratings v1",
  "reviews v3>ratings v1",
);

function at(graph: typeof BOOKINFO, id: string): Rect {
  const rect = layOut(graph).nodes.get(id);
  if (!rect) throw new Error(`${id} has no place`);
  return rect;
}

function overlap(a: Rect, b: Rect): boolean {
  return a.x < b.x + b.width && b.x < a.x + a.width && a.y < b.y + b.height && b.y < a.y + a.height;
}

test("traffic goes from left to right with room for labels", () => {
  const columns = ["gateway", "productpage v1", "reviews v2", "ratings v1"].map((id) => at(BOOKINFO, id));
  columns.slice(1).forEach((rect, index) => {
    const before = columns[index];
    expect(rect.x - (before ? before.x + before.width : 0)).toBeGreaterThanOrEqual(120);
  });
});

test("versions of one app stand in order in a box with its name", () => {
  const { boxes } = layOut(BOOKINFO);
  expect(boxes).toHaveLength(1);
  expect(boxes[0]).toMatchObject({ title: "reviews", members: ["reviews v1", "reviews v2", "reviews v3"] });
  const tops = ["reviews v1", "reviews v2", "reviews v3"].map((id) => at(BOOKINFO, id).y);
  expect([...tops].sort((a, b) => a - b)).toEqual(tops);
});

test("a Service that none of its workloads answered for stands with them", () => {
  const graph = makeGraph("page>reviews v1", "page>reviews v2");
  const service = makeNode("service:reviews", { kind: "service", name: "reviews", app: "" });
  const { boxes } = layOut({ ...graph, nodes: [...graph.nodes, service] });
  expect(boxes.map(({ members }) => members.length)).toEqual([3]);
});

test("no two nodes overlap, connected or not", () => {
  const graph = { ...BOOKINFO, nodes: [...BOOKINFO.nodes, makeNode("curl"), makeNode("mysql"), makeNode("sleep")] };
  const rects = [...layOut(graph).nodes.values()];
  expect(rects).toHaveLength(graph.nodes.length);
  rects.forEach((a, index) => rects.slice(index + 1).forEach((b) => expect(overlap(a, b)).toBe(false)));
});

test("the order in which nodes and edges are told changes nothing", () => {
  const turned = { ...BOOKINFO, nodes: [...BOOKINFO.nodes].reverse(), edges: [...BOOKINFO.edges].reverse() };
  expect(layOut(turned)).toEqual(layOut(BOOKINFO));
  expect(layoutKey(turned)).toBe(layoutKey(BOOKINFO));
});

test("numbers that change move nothing, a new edge does", () => {
  const busier = { ...BOOKINFO, edges: BOOKINFO.edges.map((edge) => ({ ...edge, rate: 99 })) };
  expect(layoutKey(busier)).toBe(layoutKey(BOOKINFO));
  expect(layoutKey(makeGraph("a>b", "a>c"))).not.toBe(layoutKey(makeGraph("a>b")));
});

test("without any edge the nodes stand in rows", () => {
  const graph = { ...makeGraph(), nodes: Array.from({ length: 9 }, (_, index) => makeNode(`app${index}`)) };
  expect(layOut(graph).nodes.size).toBe(9);
  expect(new Set([...layOut(graph).nodes.values()].map(({ y }) => y)).size).toBeGreaterThan(1);
});

test("a circle, a call to oneself and an edge to nowhere are drawn without a fuss", () => {
  const graph = makeGraph("a>b", "b>a", "a>a");
  graph.edges.push({ ...makeGraph("a>gone").edges[0]!, id: "x" });
  expect(layOut(graph).nodes.size).toBe(2);
});
