import { expect, test } from "vitest";
import { ApiError, UnreachableError } from "../../api/client";
import { makeEdge, makeGraph } from "./sample";
import { hasTraffic, STALE_AFTER, viewOf } from "./view";

const graph = makeGraph("a>b");
const known = { token: "t", graph, error: null, link: { kind: "open" as const, lastEvent: 1000 }, now: 1000 };

test("without a token nothing else matters", () => {
  expect(viewOf({ ...known, token: null })).toEqual({ kind: "no-token", wasRefused: false });
  expect(viewOf({ ...known, error: new ApiError(401, "no") })).toEqual({ kind: "no-token", wasRefused: true });
});

test("before the first graph it loads, or says why not", () => {
  expect(viewOf({ ...known, graph: undefined }).kind).toBe("loading");
  const error = new UnreachableError("no answer");
  expect(viewOf({ ...known, graph: undefined, error })).toEqual({ kind: "failed", error });
});

test("a graph stays in sight when the stream is lost or silent", () => {
  expect(viewOf(known).kind).toBe("live");
  expect(viewOf({ ...known, now: 1000 + STALE_AFTER }).kind).toBe("live");
  expect(viewOf({ ...known, now: 1001 + STALE_AFTER }).kind).toBe("stale");
  expect(viewOf({ ...known, link: { kind: "lost", lastEvent: null } }).kind).toBe("stale");
  expect(viewOf({ ...known, link: { kind: "lost", lastEvent: 1000 }, now: 2000 }).kind).toBe("live");
  expect(viewOf({ ...known, link: { kind: "lost", lastEvent: 1000 }, now: 4500 }).kind).toBe("stale");
});

test("edges that carry nothing are no traffic", () => {
  expect(hasTraffic(graph)).toBe(true);
  expect(hasTraffic(makeGraph(makeEdge("a", "b", { rate: 0, received: 0, sent: 0 })))).toBe(false);
  expect(hasTraffic(makeGraph(makeEdge("a", "b", { rate: 0, protocol: "tcp" })))).toBe(true);
});
