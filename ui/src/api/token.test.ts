import { expect, test } from "vitest";
import { tokenIn } from "./token";

test.each([
  ["#token=abc", "abc"],
  ["#token=a%2Bb&x=1", "a+b"],
  ["#x=1", null],
  ["#token=", null],
  ["", null],
])("the fragment %s holds %s", (fragment, token) => expect(tokenIn(fragment)).toBe(token));
