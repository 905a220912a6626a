import { expect, test } from "vitest";
import { codeHealth, findProblems, findWaiting, isPlain, problemHealth, worstHealth } from "./health";
import { makeEdge, makeGraph, makeNode } from "./sample";

test("the worst health wins, and idle is the least", () => {
  expect(worstHealth(["ok", "failing", "degraded"])).toBe("failing");
  expect(worstHealth(["idle", "ok"])).toBe("ok");
  expect(worstHealth([])).toBe("idle");
});

test.each([
  ["200", "http", "ok"],
  ["404", "http", "degraded"],
  ["503", "http", "failing"],
  ["0", "http", "failing"],
  ["-", "http", "failing"],
  ["0", "grpc", "ok"],
  ["14", "grpc", "failing"],
] as const)("%s by %s is %s", (code, protocol, health) => expect(codeHealth(code, protocol)).toBe(health));

test("problems come worst first, and a node is not repeated after its edge", () => {
  const graph = makeGraph(makeEdge("a", "b", { health: "degraded" }), makeEdge("a", "c", { health: "failing" }), "a>d");
  graph.nodes = graph.nodes.map((node) =>
    node.id === "c" || node.id === "d" ? { ...node, health: "degraded" } : node,
  );
  const problems = findProblems(graph);
  expect(problems.map(problemHealth)).toEqual(["failing", "degraded", "degraded"]);
  expect(problems.filter(({ kind }) => kind === "node")).toMatchObject([{ node: { id: "d" } }]);
});

test("missing mutual TLS is marked between workloads only", () => {
  const plain = makeEdge("a", "b", { mtls: 0 });
  expect(isPlain(plain, makeNode("a"), makeNode("b"))).toBe(true);
  expect(isPlain(plain, makeNode("a", { meshed: false }), makeNode("b"))).toBe(true);
  expect(isPlain(plain, makeNode("a", { kind: "unknown" }), makeNode("b"))).toBe(false);
  expect(isPlain(plain, makeNode("a"), makeNode("b", { kind: "external" }))).toBe(false);
  expect(isPlain(makeEdge("a", "b"), makeNode("a"), makeNode("b"))).toBe(false);
  expect(isPlain(makeEdge("a", "b", { mtls: 0, rate: 0, received: 0, sent: 0 }), makeNode("a"), makeNode("b"))).toBe(
    false,
  );
});

test("an edge without mutual TLS is a problem, however healthy", () => {
  expect(findProblems(makeGraph(makeEdge("a", "b", { mtls: 0 })))).toMatchObject([{ kind: "plain" }]);
});

test("a workload waits while one of its instances is not ready", () => {
  const workload = { name: "a", namespace: "default", kind: "Deployment", meshed: true, problem: "" };
  const workloads = [
    { ...workload, ready: 0, replicas: 1 },
    { ...workload, name: "b", ready: 2, replicas: 2 },
    { ...workload, name: "c", ready: 0, replicas: 0 },
  ];
  const status = { mesh: "", pid: 1, runtime: "", version: "", api: {}, gateways: {}, workloads };
  expect(findWaiting(status).map(({ name }) => name)).toEqual(["a"]);
});
