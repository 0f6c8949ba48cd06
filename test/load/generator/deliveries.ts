/**
 * What a worker's clients received of what was sent from some time on: how much, how late, and what came twice
 * or behind a later one of the same sender. What was sent before is not counted, whenever it comes.
 */
import { LatencyHistogram } from "./latency-histogram.js";

export class Deliveries {
  readonly latencies = new LatencyHistogram();
  #delivered = 0;
  #repeated = 0;
  #fromUs = Infinity;

  get delivered(): number {
    return this.#delivered;
  }

  /** Repeated, or out of order. */
  get repeated(): number {
    return this.#repeated;
  }

  /** Counts from zero what is sent from this wire time on. */
  begin(fromUs: number): void {
    this.#fromUs = fromUs;
    this.#delivered = 0;
    this.#repeated = 0;
    this.latencies.clear();
  }

  add(sentUs: number, receivedUs: number): void {
    if (sentUs < this.#fromUs) return;
    this.#delivered += 1;
    this.latencies.add(receivedUs - sentUs);
  }

  addRepeated(sentUs: number): void {
    if (sentUs >= this.#fromUs) this.#repeated += 1;
  }
}
