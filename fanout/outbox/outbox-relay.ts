/**
 * The relay: brings the outbox of the partitions that it has leases for to the event sink, in order for each
 * key on first occurrence and at least once. News of a partition wake its lane at once; a sweep finds what news
 * were lost of, and counts what waits. Lanes go on independently, a few at a time, in turns.
 *
 * Driven by `tick`, at an interval. What it has sent and could not remove, it or another relay sends again.
 */
import type { BackoffOptions } from "#fanout/event/backoff.js";
import type { EventSink } from "#fanout/event/event-sink.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { Outbox } from "./outbox.js";
import { OutboxLane, type RelayCounters } from "./outbox-lane.js";
import { OutboxLeases } from "./outbox-leases.js";

export interface OutboxRelayOptions {
  readonly outbox: Outbox;
  readonly sink: Pick<EventSink, "send">;
  readonly logger: Logger;
  /** Of this process alone, not of another one of the same name. */
  readonly holder: string;
  /** Milliseconds that only grow. */
  readonly nowMs: () => number;
  /** Between tries of a batch that failed. */
  readonly backoff?: BackoffOptions;
  /** 0 up to 1. */
  readonly random?: () => number;
}

/** Of what waits in the partitions relayed here, as of the last sweep. */
export interface OutboxWaiting {
  readonly events: number;
  readonly oldestAgeMs: number;
}

const TICK_MS = 200;
const SWEEP_MS = 2_000;
/** Lanes at work at once; each has at most one batch in hand (see `outbox-lane.ts`). */
const MAX_AT_WORK = 8;
/** How long `stop` waits for them; Kafka may be frozen. */
const STOP_WAIT_MS = 1_000;
const BACKOFF: BackoffOptions = { initialMs: 200, maxMs: 5_000 };
const NOTHING: OutboxWaiting = { events: 0, oldestAgeMs: 0 };

export class OutboxRelay {
  readonly counters: RelayCounters = { relayed: 0, failures: 0, deadLetters: 0, discarded: 0 };
  readonly #options: OutboxRelayOptions;
  readonly #leases: OutboxLeases;
  /** Made when first needed; as many as there are partitions at most. */
  readonly #lanes = new Map<number, OutboxLane>();
  /** With what tells one try to listen from the next. */
  readonly #listened = new Map<number, symbol>();
  /** In the order in which they were woken. */
  readonly #queue: OutboxLane[] = [];
  readonly #atWork = new Set<Promise<void>>();
  #waiting = NOTHING;
  #sweepAtMs = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #ticking: Promise<void> | undefined;
  #isStopped = false;

  constructor(options: OutboxRelayOptions) {
    this.#options = options;
    this.#leases = new OutboxLeases(options);
  }

  get leases(): number {
    return this.#leases.count;
  }

  /** The partitions whose leases it has. */
  get partitions(): readonly number[] {
    return this.#leases.partitions();
  }

  get waiting(): OutboxWaiting {
    return this.#waiting;
  }

  start(): void {
    this.#timer = setInterval(() => void this.tick(), TICK_MS).unref();
    void this.tick();
  }

  /** Keeps leases, wakes lanes that are due, sweeps. One at a time: called again meanwhile it is the same one. */
  tick(): Promise<void> {
    this.#ticking ??= this.#tick().finally(() => (this.#ticking = undefined));
    return this.#ticking;
  }

  /** Resolves when no lane is at work or waits for its turn; for tests. */
  async settled(): Promise<void> {
    while (this.#atWork.size > 0) await Promise.all(this.#atWork);
  }

  /** Finishes what is in hand, within a bound, and gives its leases up. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    clearInterval(this.#timer);
    this.#queue.length = 0;
    for (const partition of this.#listened.keys()) this.#options.outbox.unlisten(partition);
    this.#listened.clear();
    await within(Promise.all([this.settled(), this.#ticking]), STOP_WAIT_MS);
    await this.#leases.giveUp();
    this.#waiting = NOTHING;
  }

  async #tick(): Promise<void> {
    await this.#leases.tick();
    if (this.#isStopped) return;
    const held = this.#leases.partitions();
    this.#listenTo(held);
    for (const lane of this.#lanes.values()) this.#enqueue(lane);
    const nowMs = this.#options.nowMs();
    if (nowMs < this.#sweepAtMs) return;
    this.#sweepAtMs = nowMs + SWEEP_MS;
    await this.#sweep(held);
  }

  #listenTo(held: readonly number[]): void {
    const { outbox } = this.#options;
    const wanted = new Set(held);
    for (const partition of this.#listened.keys()) {
      if (wanted.has(partition)) continue;
      this.#listened.delete(partition);
      outbox.unlisten(partition);
    }
    for (const partition of wanted) {
      if (this.#listened.has(partition)) continue;
      const attempt = Symbol();
      this.#listened.set(partition, attempt);
      outbox
        .listen(partition, () => this.#wake(partition))
        .then(
          // For what was published before.
          () => this.#wake(partition),
          () => {
            // Tried again with the next tick; until then the sweep finds what waits.
            if (this.#listened.get(partition) === attempt) this.#listened.delete(partition);
          },
        );
    }
  }

  /** What it finds is the truth for the metrics, and wakes the lanes whose news were lost. */
  async #sweep(held: readonly number[]): Promise<void> {
    try {
      const backlog = await this.#options.outbox.backlog(held);
      let events = 0;
      let oldestAgeMs = 0;
      for (const [index, partition] of held.entries()) {
        const { count, oldestAgeMs: ageMs } = backlog[index] ?? { count: 0, oldestAgeMs: 0 };
        events += count;
        oldestAgeMs = Math.max(oldestAgeMs, ageMs);
        if (count > 0) this.#wake(partition);
      }
      this.#waiting = { events, oldestAgeMs };
    } catch {
      // The store is away. What was known is the best guess.
    }
  }

  #wake(partition: number): void {
    if (this.#isStopped) return;
    const lane = this.#lanes.get(partition) ?? this.#makeLane(partition);
    lane.isWoken = true;
    this.#enqueue(lane);
  }

  #makeLane(partition: number): OutboxLane {
    const { outbox, sink, logger, nowMs, backoff = BACKOFF } = this.#options;
    const lane = new OutboxLane({
      partition,
      outbox,
      sink,
      logger,
      nowMs,
      backoff,
      counters: this.counters,
      isHeld: () => !this.#isStopped && this.#leases.holds(partition),
    });
    this.#lanes.set(partition, lane);
    return lane;
  }

  #enqueue(lane: OutboxLane): void {
    if (!lane.isWoken || lane.isBusy || lane.isResting || this.#isStopped) return;
    lane.isBusy = true;
    this.#queue.push(lane);
    this.#pump();
  }

  #pump(): void {
    while (this.#atWork.size < MAX_AT_WORK) {
      const lane = this.#queue.shift();
      if (lane === undefined) return;
      const work = lane.step().finally(() => {
        this.#atWork.delete(work);
        lane.isBusy = false;
        // Behind the others: a partition that is full holds nobody up.
        this.#enqueue(lane);
        this.#pump();
      });
      this.#atWork.add(work);
    }
  }
}

async function within(work: Promise<unknown>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<void>((resolve) => (timer = setTimeout(resolve, timeoutMs)));
  await Promise.race([work, expiry]);
  clearTimeout(timer);
}
