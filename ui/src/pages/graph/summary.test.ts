import { expect, test } from "vitest";
import { makeEdge, makeGraph } from "./sample";
import { summarize } from "./summary";

test("requests are counted where they enter, errors at every hop", () => {
  const graph = makeGraph(
    makeEdge("outside", "gw", { rate: 10, mtls: 0 }),
    makeEdge("gw", "page", { rate: 10, error_rate: 0.5 }),
  );
  expect(summarize(graph)).toMatchObject({ entering: 10, errors: 0.25 });
});

test("mutual TLS is a share of what could have had it", () => {
  const graph = makeGraph(
    makeEdge("outside", "gw", { rate: 10, mtls: 0 }),
    makeEdge("gw", "page", { rate: 30 }),
    makeEdge("curl", "page", { rate: 10, mtls: 0 }),
  );
  graph.nodes = graph.nodes.map((node) => (node.id === "outside" ? { ...node, kind: "unknown" } : node));
  expect(summarize(graph).mtls).toBe(0.75);
  expect(summarize(makeGraph()).mtls).toBeNull();
});
