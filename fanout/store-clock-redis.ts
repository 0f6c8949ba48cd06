/**
 * Redis's clock, kept in this process: the difference to the own monotonic clock is measured now and then
 * (`TIME`, half the round trip taken off, the sample of the shortest round trip of a few), so that reading
 * it costs nothing and works on while Redis is away. It never goes back and never gives a time twice: a
 * measurement that puts it back makes it creep until time has caught up.
 */
import type { StoreClock } from "./store-clock.js";

export interface RedisClockOptions {
  /** Asks Redis for its time: microseconds since 1970. */
  readonly askUs: () => Promise<number>;
  /** How often to measure. Default: every 30 s. */
  readonly intervalMs?: number;
  /** The own clock, in ms; must never go back. */
  readonly monotonicMs?: () => number;
}

const SAMPLES = 5;
const DEFAULT_INTERVAL_MS = 30_000;

export class RedisStoreClock implements StoreClock {
  readonly #askUs: () => Promise<number>;
  readonly #monotonicMs: () => number;
  readonly #timer: NodeJS.Timeout;
  #offsetUs: number;
  #lastUs = 0;

  /** @throws what asking threw: without one measurement there is no time. */
  static async start(options: RedisClockOptions): Promise<RedisStoreClock> {
    const clock = new RedisStoreClock(options);
    try {
      await clock.measure();
    } catch (error) {
      clock.stop();
      throw error;
    }
    return clock;
  }

  private constructor(options: RedisClockOptions) {
    this.#askUs = options.askUs;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#offsetUs = Date.now() * 1000 - this.#ownUs();
    this.#timer = setInterval(() => {
      // While Redis is away the last difference is the best there is.
      this.measure().catch(() => undefined);
    }, options.intervalMs ?? DEFAULT_INTERVAL_MS);
    this.#timer.unref();
  }

  nowUs(): number {
    this.#lastUs = Math.max(this.#lastUs + 1, Math.floor(this.#ownUs() + this.#offsetUs));
    return this.#lastUs;
  }

  /** Measures the difference anew. */
  async measure(): Promise<void> {
    let best: { roundTripUs: number; offsetUs: number } | undefined;
    for (let sample = 0; sample < SAMPLES; sample++) {
      const sentUs = this.#ownUs();
      const redisUs = await this.#askUs();
      const roundTripUs = this.#ownUs() - sentUs;
      const offsetUs = redisUs - (sentUs + roundTripUs / 2);
      if (!best || roundTripUs < best.roundTripUs) best = { roundTripUs, offsetUs };
    }
    if (best) this.#offsetUs = best.offsetUs;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #ownUs(): number {
    return this.#monotonicMs() * 1000;
  }
}
