/**
 * A circuit breaker: after several failures in a row it refuses calls for a while, then lets one through to
 * see. It keeps no timer; the time is passed in. Reconnecting is left to the client that it guards.
 */
export interface CircuitBreakerOptions {
  /** So many failures in a row open it. */
  readonly failureThreshold: number;
  /** For so long it refuses. */
  readonly openMs: number;
}

export class CircuitBreaker {
  readonly #options: CircuitBreakerOptions;
  #failures = 0;
  #openUntilMs = 0;

  constructor(options: CircuitBreakerOptions) {
    this.#options = options;
  }

  get isOpen(): boolean {
    return this.#failures >= this.#options.failureThreshold;
  }

  /** 0 where a call may be made, else how long to wait. A call let through while open is the probe. */
  admit(nowMs: number): number {
    if (!this.isOpen) return 0;
    if (nowMs < this.#openUntilMs) return this.#openUntilMs - nowMs;
    this.#openUntilMs = nowMs + this.#options.openMs;
    return 0;
  }

  succeeded(): void {
    this.#failures = 0;
  }

  /** Answers whether this failure is the one that opened it. */
  failed(nowMs: number): boolean {
    this.#failures += 1;
    if (this.#failures !== this.#options.failureThreshold) return false;
    this.#openUntilMs = nowMs + this.#options.openMs;
    return true;
  }
}
