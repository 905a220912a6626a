import { expect, test } from "vitest";
import { EventParser } from "./sse";

test("an event ends at an empty line", () => {
  expect(new EventParser().push("event: graph\ndata: {}\n\n")).toEqual([{ event: "graph", data: "{}" }]);
});

test("text may be cut anywhere", () => {
  const parser = new EventParser();
  const text = "event: graph\r\ndata: one\r\ndata: two\r\n\r\n: a comment\r\n\r\nevent: ping\r\ndata:\r\n\r\n";
  const events = [...text].flatMap((letter) => parser.push(letter));
  expect(events).toEqual([
    { event: "graph", data: "one\ntwo" },
    { event: "ping", data: "" },
  ]);
});

test("an event without data is none", () => {
  expect(new EventParser().push("event: ping\n\n")).toEqual([]);
});
