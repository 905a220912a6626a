import { expect, test } from "vitest";
import { readGraphState, writeGraphState } from "./paths";

test.each([
  { window: 60, selection: null, find: "" },
  { window: 600, selection: { kind: "node" as const, id: "ns/app v1&x=1" }, find: "rev iews" },
  { window: 3600, selection: { kind: "edge" as const, id: "a>b" }, find: "" },
])("a URL holds %o", (state) => {
  expect(readGraphState(new URLSearchParams(writeGraphState(state).toString()))).toEqual(state);
});

test("what makes no sense in a URL is as at first", () => {
  expect(readGraphState(new URLSearchParams("window=7&other=1"))).toEqual({ window: 60, selection: null, find: "" });
});
