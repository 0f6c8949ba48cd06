/**
 * When the batches of a process leave, and how often it wakes. A message costs its stream far more than a frame
 * in it does, and being woken costs a process more than either. While frames keep coming, the event loop therefore
 * rests between its batches, as a network card moderates its interrupts: what arrives meanwhile is read in one turn,
 * and what it causes leaves together. What comes after a quiet interval leaves at the end of its turn. A process does
 * not rest while somebody waits for an answer through it: many of them one after the other would add up.
 */
export interface FlushPace {
  /** Calls back once, soon. */
  schedule(flush: () => void): void;
}

/** A part of every delivery's time for each process that it passes. */
const FLUSH_INTERVAL_MS = 3;

/** At the end of the turn. */
export const EVERY_TURN: FlushPace = { schedule: (flush) => void setImmediate(flush) };

export interface RestingPaceOptions {
  readonly intervalMs: number;
  /** Milliseconds that only grow. */
  readonly nowMs?: () => number;
  /** Stops the thread for so long. */
  readonly rest?: (durationMs: number) => void;
}

/** For all writers of a process: those that wait are flushed in one turn. */
export class RestingPace implements FlushPace {
  readonly #intervalMs: number;
  readonly #nowMs: () => number;
  readonly #rest: (durationMs: number) => void;
  #waiting: (() => void)[] = [];
  #lastMs = -Infinity;
  #waitedFor = 0;

  constructor({ intervalMs, nowMs = () => performance.now(), rest = restThread }: RestingPaceOptions) {
    this.#intervalMs = intervalMs;
    this.#nowMs = nowMs;
    this.#rest = rest;
  }

  schedule(flush: () => void): void {
    if (this.#waiting.push(flush) > 1) return;
    setImmediate(this.#remainingMs() <= 0 ? this.#flush : this.#restThenFlush);
  }

  /** Does not rest before the answer is there. */
  async awake<T>(answer: Promise<T>): Promise<T> {
    this.#waitedFor += 1;
    try {
      return await answer;
    } finally {
      this.#waitedFor -= 1;
    }
  }

  /** After the rest there is one turn that reads, and its end is the flush. */
  readonly #restThenFlush = (): void => {
    const remainingMs = this.#remainingMs();
    if (remainingMs > 0 && this.#waitedFor > 0) {
      setTimeout(this.#flush, remainingMs);
      return;
    }
    if (remainingMs > 0) this.#rest(remainingMs);
    setImmediate(this.#flush);
  };

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#lastMs = this.#nowMs();
    for (const flush of waiting) flush();
  };

  #remainingMs(): number {
    return Math.min(this.#lastMs + this.#intervalMs - this.#nowMs(), this.#intervalMs);
  }
}

const NEVER_WOKEN = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

function restThread(durationMs: number): void {
  Atomics.wait(NEVER_WOKEN, 0, 0, durationMs);
}

/** One for the process, as it has one event loop. */
export const PROCESS_PACE = new RestingPace({ intervalMs: FLUSH_INTERVAL_MS });
