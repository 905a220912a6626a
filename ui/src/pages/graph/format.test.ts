import { expect, test } from "vitest";
import { formatBytes, formatMilliseconds, formatRate, formatShare, formatWindow, wordWindow } from "./format";

test.each([
  [0, "0 /s"],
  [0.004, "< 0.01 /s"],
  [0.25, "0.25 /s"],
  [0.999, "1 /s"],
  [2.5, "2.5 /s"],
  [12.44, "12.4 /s"],
  [100.4, "100 /s"],
  [12_345, "12.3 k /s"],
])("%d requests a second are %s", (rate, text) => expect(formatRate(rate)).toBe(text));

test.each([
  [0, "0 %"],
  [0.0001, "< 0.1 %"],
  [0.081, "8.1 %"],
  [0.0996, "10 %"],
  [0.9999, "> 99.9 %"],
  [1, "100 %"],
])("a share of %d is %s", (share, text) => expect(formatShare(share)).toBe(text));

test.each([
  [null, "–"],
  [0.4, "< 1 ms"],
  [1.04, "1 ms"],
  [48.2, "48 ms"],
  [1240, "1.2 s"],
  [70_000, "70 s"],
])("%s ms are %s", (ms, text) => expect(formatMilliseconds(ms)).toBe(text));

test("bytes climb the units by thousands", () => {
  expect([0, 900, 1500, 2_500_000].map(formatBytes)).toEqual(["0 B/s", "900 B/s", "1.5 kB/s", "2.5 MB/s"]);
});

test("windows are short in the header and words in a sentence", () => {
  expect([60, 600, 3600].map(formatWindow)).toEqual(["1 min", "10 min", "1 h"]);
  expect([60, 600, 3600].map(wordWindow)).toEqual(["minute", "10 minutes", "hour"]);
});
