import type { MeshEdge } from "../../api/types";

/** A dot on its way along an edge. */
export interface Dot {
  /** Seconds of the drawing's own clock. */
  born: number;
  /** Seconds that the whole way takes. */
  takes: number;
  isFailure: boolean;
}

const MOST_PER_EDGE = 24;

/** Dots that leave per second: their number grows with the rate's logarithm, so that both 1/s and 1000/s can be seen. */
export function dotsPerSecond(rate: number): number {
  return rate <= 0 ? 0 : Math.min(9, 0.35 + 2.2 * Math.log10(1 + rate));
}

/** Seconds from end to end: fast answers are fast dots. */
export function crossingTime(edge: Pick<MeshEdge, "p50">): number {
  return Math.min(6, 1.1 + (edge.p50 ?? 20) / 250);
}

/** The dots of one edge. Give it the time; it lets them out evenly and marks the right share of them as failures. */
export class EdgeTraffic {
  dots: Dot[] = [];
  #due = Math.random();
  #failures = 0;
  #last: number | null = null;

  /** @param now seconds, growing */
  advance(edge: Pick<MeshEdge, "rate" | "error_rate" | "p50">, now: number): void {
    const passed = Math.min(0.25, now - (this.#last ?? now));
    this.#last = now;
    this.dots = this.dots.filter((dot) => now - dot.born < dot.takes);
    this.#due += passed * dotsPerSecond(edge.rate);
    while (this.#due >= 1) {
      this.#due -= 1;
      if (this.dots.length >= MOST_PER_EDGE) continue;
      this.#failures += edge.error_rate;
      const isFailure = this.#failures >= 1;
      if (isFailure) this.#failures -= 1;
      this.dots.push({ born: now, takes: crossingTime(edge), isFailure });
    }
  }
}
