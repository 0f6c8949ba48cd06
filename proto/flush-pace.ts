/**
 * When the batches of a process leave. A message costs its stream far more than a frame in it does, and a
 * process that is woken for each frame pays for that too: while frames keep coming, batches leave together
 * at an interval; what comes after a quiet interval leaves at the end of its turn of the event loop.
 */
export interface FlushPace {
  /** Calls back once, soon. */
  schedule(flush: () => void): void;
}

/** Of links and of what goes to the store: a part of every delivery's time for each that it passes. */
export const FLUSH_INTERVAL_MS = 3;

/** At the end of the turn. */
export const EVERY_TURN: FlushPace = { schedule: (flush) => void setImmediate(flush) };

/** For all writers of a process: those that wait are flushed in one turn. */
export class FlushInterval implements FlushPace {
  #waiting: (() => void)[] = [];
  #lastMs = -Infinity;

  constructor(
    private readonly intervalMs: number,
    private readonly nowMs: () => number = () => performance.now(),
  ) {}

  schedule(flush: () => void): void {
    if (this.#waiting.push(flush) > 1) return;
    const restMs = this.#lastMs + this.intervalMs - this.nowMs();
    if (restMs <= 0) setImmediate(this.#flush);
    else setTimeout(this.#flush, Math.min(restMs, this.intervalMs));
  }

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#lastMs = this.nowMs();
    for (const flush of waiting) flush();
  };
}
