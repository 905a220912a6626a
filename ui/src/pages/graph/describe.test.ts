import { expect, test } from "vitest";
import { edgeLabel, flagMeaning, mtlsWords, nodeLabel, subtitleOf, titleOf } from "./describe";
import { makeEdge, makeNode } from "./sample";

test("a node is told by app, version, health and rate", () => {
  const node = makeNode("reviews v3", { health: "degraded", rate: 2.5 });
  expect(nodeLabel(node)).toBe("reviews v3, degraded, 2.5 requests a second");
});

test("what is unusual about a node is told too", () => {
  const node = makeNode("curl", { meshed: false, ready: 0, rate: 0, health: "idle" });
  expect(nodeLabel(node)).toBe("curl, idle, not in the mesh, 0 of 1 ready");
});

test("an edge is told by both ends, errors and missing mutual TLS", () => {
  const edge = makeEdge("a v1", "b v2", { error_rate: 0.5, health: "failing" });
  const label = edgeLabel(edge, makeNode("a v1"), makeNode("b v2"), true);
  expect(label).toBe("a v1 to b v2, failing, 1 requests a second, 50 % errors, no mutual TLS");
});

test("the namespace is shown where there are several", () => {
  expect(subtitleOf(makeNode("a v1"), true)).toBe("v1");
  expect(subtitleOf(makeNode("a v1"), false)).toBe("v1 · default");
  expect(titleOf(makeNode("x", { kind: "unknown" }))).toBe("outside");
  expect(titleOf(makeNode("istio-ingressgateway", { kind: "gateway" }))).toBe("ingressgateway");
});

test("response flags have words, unknown ones stay as they are", () => {
  expect(flagMeaning("UH")).toBe("no healthy endpoint");
  expect(flagMeaning("UF,URX")).toBe("could not connect, retries used up");
  expect(flagMeaning("ZZ")).toBe("ZZ");
});

test("mutual TLS is whole, partial or missing", () => {
  expect([1, 0.6, 0].map(mtlsWords)).toEqual([
    "Mutual TLS",
    "Mutual TLS for 60 %, the rest in plain text",
    "Plain text, no mutual TLS",
  ]);
});
