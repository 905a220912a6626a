import { expect, test } from "vitest";
import { crossingTime, dotsPerSecond, EdgeTraffic } from "./dots";

function run(rate: number, errorRate: number, seconds: number): EdgeTraffic {
  const traffic = new EdgeTraffic();
  for (let step = 0; step <= seconds * 60; step++) traffic.advance({ rate, error_rate: errorRate, p50: 0 }, step / 60);
  return traffic;
}

test("no traffic, no dots", () => {
  expect(dotsPerSecond(0)).toBe(0);
  expect(run(0, 0, 5).dots).toEqual([]);
});

test("more traffic is more dots, but never a flood", () => {
  expect(dotsPerSecond(10)).toBeGreaterThan(dotsPerSecond(1));
  expect(dotsPerSecond(1e6)).toBe(9);
  expect(run(1e6, 0, 5).dots.length).toBeLessThanOrEqual(24);
});

test("slow answers are slow dots", () => {
  expect(crossingTime({ p50: 1000 })).toBeGreaterThan(crossingTime({ p50: 10 }));
  expect(crossingTime({ p50: 60_000 })).toBe(6);
});

test("the share of failures among the dots is the edge's", () => {
  const traffic = new EdgeTraffic();
  const seen = new Set<{ isFailure: boolean }>();
  for (let step = 0; step < 60 * 60; step++) {
    traffic.advance({ rate: 100, error_rate: 0.25, p50: 10 }, step / 60);
    traffic.dots.forEach((dot) => seen.add(dot));
  }
  const failures = [...seen].filter(({ isFailure }) => isFailure).length;
  expect(failures / seen.size).toBeCloseTo(0.25, 1);
});

test("a page that was hidden for long does not burst", () => {
  const traffic = run(1000, 0, 1);
  const before = traffic.dots.length;
  traffic.advance({ rate: 1000, error_rate: 0, p50: 10 }, 1.01 + 3600);
  expect(traffic.dots.length).toBeLessThanOrEqual(before);
});
