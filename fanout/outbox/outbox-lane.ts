/**
 * The outbox of one partition on its way: reads the oldest entries, sends them together, removes them. What
 * failed stays in the store and is read again after a pause, so the same is sent again before anything later;
 * nothing of it is kept here. An entry that can never be relayed is put aside, and holds nobody up.
 */
import { GatewayError } from "#proto/errors.js";
import { Backoff, type BackoffOptions } from "#fanout/event/backoff.js";
import type { EventSink, SinkRecord } from "#fanout/event/event-sink.js";
import type { Logger } from "#fanout/fanout-logger.js";
import type { Outbox, OutboxEntry, ReadLimits } from "./outbox.js";
import { deadLetterOf, PoisonEntry, recordOf } from "./outbox-record.js";

/** Plain integers for the metrics. */
export interface RelayCounters {
  /** Events that the sink took. */
  relayed: number;
  /** Attempts that failed and are made again. */
  failures: number;
  /** Events put aside. */
  deadLetters: number;
  /** Events that not even the dead letter topic can take. */
  discarded: number;
}

export interface OutboxLaneOptions {
  readonly partition: number;
  readonly outbox: Pick<Outbox, "read" | "remove">;
  readonly sink: Pick<EventSink, "send">;
  readonly counters: RelayCounters;
  readonly logger: Logger;
  readonly backoff: BackoffOptions;
  /** Milliseconds that only grow. */
  readonly nowMs: () => number;
  /** Whether this process may relay the partition, asked before each step that may repeat something. */
  readonly isHeld: () => boolean;
}

/** In JSON an event is at most about twice as large, and a batch for the sink shall hold them all. */
const READ_LIMITS: ReadLimits = { maxEntries: 100, maxBytes: 192 * 1024 };

/** Errors that say the record itself is at fault: sending it again cannot help. */
const FAULTS_OF_THE_RECORD: ReadonlySet<string> = new Set(["payload_too_large", "invalid_argument"]);

interface Outgoing {
  readonly entry: OutboxEntry;
  readonly record: SinkRecord;
}

export class OutboxLane {
  readonly #options: OutboxLaneOptions;
  readonly #backoff: Backoff;
  #retryAtMs = -Infinity;
  /** Whether something may wait. */
  isWoken = false;
  /** Whether it waits for its turn or is at work. */
  isBusy = false;

  constructor(options: OutboxLaneOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff);
  }

  /** Whether it rests after a failure. */
  get isResting(): boolean {
    return this.#options.nowMs() < this.#retryAtMs;
  }

  /** Relays one batch. Leaves `isWoken` set where more may wait. Never fails. */
  async step(): Promise<void> {
    const { outbox, partition, isHeld } = this.#options;
    this.isWoken = false;
    if (!isHeld()) return;
    try {
      const { entries, hasMore } = await outbox.read(partition, READ_LIMITS);
      if (entries.length === 0 || !isHeld()) return;
      await this.#relay(entries);
      this.#backoff.reset();
      this.isWoken ||= hasMore;
    } catch (error) {
      this.#failed(error);
    }
  }

  async #relay(entries: readonly OutboxEntry[]): Promise<void> {
    const { outbox, partition } = this.#options;
    const poison = new Map<OutboxEntry, string>();
    const outgoing: Outgoing[] = [];
    for (const entry of entries) {
      try {
        outgoing.push({ entry, record: recordOf(entry) });
      } catch (error) {
        if (!(error instanceof PoisonEntry)) throw error;
        poison.set(entry, error.message);
      }
    }
    await this.#send(outgoing, poison);
    const sent = entries.filter((entry) => !poison.has(entry));
    if (sent.length > 0) await outbox.remove(partition, sent);
    // Last: while the dead letter topic is away, what can be relayed still goes by.
    for (const [entry, reason] of poison) {
      await this.#putAside(entry, reason);
      await outbox.remove(partition, [entry]);
    }
  }

  /** In halves, where it is too much at once; a single record that is too much is poison. */
  async #send(outgoing: readonly Outgoing[], poison: Map<OutboxEntry, string>): Promise<void> {
    const [first] = outgoing;
    if (first === undefined) return;
    try {
      await this.#options.sink.send(outgoing.map(({ record }) => record));
      this.#options.counters.relayed += outgoing.length;
    } catch (error) {
      if (!isFaultOfTheRecord(error)) throw error;
      if (outgoing.length === 1) {
        poison.set(first.entry, `the event bus does not take it: ${error.kind}`);
        return;
      }
      const half = Math.ceil(outgoing.length / 2);
      await this.#send(outgoing.slice(0, half), poison);
      await this.#send(outgoing.slice(half), poison);
    }
  }

  async #putAside(entry: OutboxEntry, reason: string): Promise<void> {
    const { sink, partition, counters, logger } = this.#options;
    const { topic, eventId } = entry;
    try {
      if (topic === "") throw new GatewayError("invalid_argument", "it has no topic");
      await sink.send([deadLetterOf(entry, partition, reason)]);
      counters.deadLetters += 1;
      logger.error({ topic, eventId, reason }, "outbox: an event cannot be relayed and was put aside");
    } catch (error) {
      if (!isFaultOfTheRecord(error)) throw error;
      counters.discarded += 1;
      logger.error({ topic, eventId, reason }, "outbox: an event can neither be relayed nor put aside");
    }
  }

  #failed(error: unknown): void {
    const { counters, logger, partition, nowMs } = this.#options;
    const retryInMs = this.#backoff.nextMs();
    this.#retryAtMs = nowMs() + retryInMs;
    this.isWoken = true;
    counters.failures += 1;
    const isExpected = error instanceof GatewayError && error.kind === "unavailable";
    // What is away says so itself.
    if (isExpected) logger.debug({ partition, retryInMs }, "outbox: a batch was not relayed");
    else logger.error({ partition, retryInMs, err: error }, "outbox: a batch was not relayed");
  }
}

function isFaultOfTheRecord(error: unknown): error is GatewayError {
  return error instanceof GatewayError && FAULTS_OF_THE_RECORD.has(error.kind);
}
