/**
 * The store's clock as an edge knows it: the difference to its own, learned from the fanouts' status. What
 * the edge stamps (when a frame was read) then compares over edges, to within half a round trip.
 */
export class StoreTime {
  #offsetUs = 0;
  #bestRoundTripMs = Infinity;

  constructor(private readonly nowMs: () => number) {}

  /** The store said `storeUs` between asking and answering, by this process's clock. */
  observe(sample: { storeUs: number; askedMs: number; answeredMs: number }): void {
    const roundTripMs = sample.answeredMs - sample.askedMs;
    // The best sample wins; it ages, so that a drift of the clocks is followed.
    this.#bestRoundTripMs += 1;
    if (sample.storeUs === 0 || roundTripMs > this.#bestRoundTripMs) return;
    this.#bestRoundTripMs = roundTripMs;
    this.#offsetUs = sample.storeUs - Math.round(((sample.askedMs + sample.answeredMs) / 2) * 1000);
  }

  /** Microseconds since 1970-01-01 UTC. */
  nowUs(): number {
    return Math.round(this.nowMs() * 1000) + this.#offsetUs;
  }
}
