/**
 * Who types where: each start lasts for a moment, unless it is renewed. Pure: time is passed in, telling is the
 * caller's. All states last equally long, so the one that was renewed longest ago ends first.
 */
export interface TypingStatesOptions {
  readonly ttlMs: number;
  /** One more ends the one that was renewed longest ago. */
  readonly maxStates: number;
}

interface State<Typist> {
  readonly typist: Typist;
  readonly expiresAtMs: number;
  readonly toldAtMs: number;
}

/** Starts that come more often than this are not told again. */
const TELL_AGAIN_SHARE = 0.5;

export class TypingStates<Typist> {
  readonly #options: TypingStatesOptions;
  /** By connection and channel, in the order in which they end. */
  readonly #states = new Map<string, State<Typist>>();

  constructor(options: TypingStatesOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#states.size;
  }

  /**
   * `isNews` where it is to be told: it is new, or so old that somebody who came later should hear of it. `ended` is
   * who had to make room, whose end is to be told.
   */
  start(key: string, typist: Typist, nowMs: number): { isNews: boolean; ended: Typist | undefined } {
    const { ttlMs, maxStates } = this.#options;
    const known = this.#states.get(key);
    const isTold = known === undefined || nowMs >= known.toldAtMs + ttlMs * TELL_AGAIN_SHARE;
    this.#states.delete(key);
    const toldAtMs = isTold ? nowMs : known.toldAtMs;
    this.#states.set(key, { typist, expiresAtMs: nowMs + ttlMs, toldAtMs });
    return { isNews: isTold, ended: this.#states.size > maxStates ? this.#takeFirst() : undefined };
  }

  /** Whether they were typing: then the end is to be told. */
  stop(key: string): boolean {
    return this.#states.delete(key);
  }

  /** Takes those whose time is over, or whose typist is gone: their ends are to be told. */
  takeOver(nowMs: number, isGone: (typist: Typist) => boolean): Typist[] {
    const over: Typist[] = [];
    for (const [key, { typist, expiresAtMs }] of this.#states) {
      if (expiresAtMs > nowMs && !isGone(typist)) continue;
      this.#states.delete(key);
      over.push(typist);
    }
    return over;
  }

  #takeFirst(): Typist | undefined {
    for (const [key, { typist }] of this.#states) {
      this.#states.delete(key);
      return typist;
    }
    return undefined;
  }
}
