/**
 * Keeps the store's records of resumable sessions true to the sessions that live here: changes are gathered for
 * a moment, at most one save of a session is under way, and what could not be saved is saved later, paced and
 * bounded. No live session waits for it, and the newest state is what is saved.
 */
import type { FanoutCounters } from "../fanout-counters.js";
import type { ResumableRecord } from "./resumable-record.js";
import type { ResumableSessions } from "./resumable-sessions.js";

/** Changes of one session are gathered for so long. */
const WINDOW_MS = 100;
/** Saved again a second, at most, beside what sessions change themselves. */
const SAVES_PER_TICK = 200;
/** Beyond so many the oldest is given up: its session is resumed from where it was last saved. */
const MAX_OWED = 100_000;

export class ResumableKeeper {
  readonly #store: Pick<ResumableSessions, "save">;
  readonly #counters: Pick<FanoutCounters, "storeFailures">;
  readonly #kept = new WeakSet<ResumableRecord>();
  readonly #due = new Set<ResumableRecord>();
  readonly #inFlight = new Map<ResumableRecord, Promise<void>>();
  /** Saved as soon as the save under way is over. */
  readonly #hurried = new Set<ResumableRecord>();
  /** To be saved at the pace of ticks: after a failure, or because nobody is in a hurry. */
  readonly #owed = new Map<ResumableRecord, "failed" | "unhurried">();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: {
    readonly store: Pick<ResumableSessions, "save">;
    readonly counters: Pick<FanoutCounters, "storeFailures">;
  }) {
    this.#store = options.store;
    this.#counters = options.counters;
  }

  /** Sessions whose state is still to be saved at the pace of ticks. */
  get owed(): number {
    return this.#owed.size;
  }

  /** Makes the record of a new session, now. @throws GatewayError unavailable; then nothing is kept. */
  async create(record: ResumableRecord): Promise<void> {
    record.makeWhole();
    this.#kept.add(record);
    record.onChange = () => this.#changed(record);
    try {
      await this.#write(record);
    } catch (thrown) {
      this.#forget(record);
      throw thrown;
    }
  }

  /** Keeps a record that the store has: what changes is saved from now on, and that it is here. */
  keep(record: ResumableRecord): void {
    this.#kept.add(record);
    record.onChange = () => this.#changed(record);
    record.touch();
    this.#changed(record);
  }

  /** As `keep`; but that it is here is saved at the pace of ticks, or with what changes: a dead home leaves many. */
  keepLater(record: ResumableRecord): void {
    this.#kept.add(record);
    record.onChange = () => this.#changed(record);
    record.touch();
    this.#owe(record, "unhurried");
  }

  /** Saves what is not saved yet at once, as far as the store is there. */
  flush(record: ResumableRecord): void {
    if (!this.#kept.has(record) || !record.isDirty || this.#hasFailed(record)) return;
    if (this.#inFlight.has(record)) this.#hurried.add(record);
    else this.#save(record);
  }

  /** The session is over: nothing of it is saved any more. */
  drop(record: ResumableRecord): void {
    this.#forget(record);
  }

  /** Has records of live sessions saved again, at the pace of ticks: they live on, or the store has lost them. */
  refresh(records: Iterable<ResumableRecord>): void {
    for (const record of records) {
      if (!this.#kept.has(record)) continue;
      record.touch();
      this.#owe(record, "unhurried");
    }
  }

  /** Called once a second. Resolves when the saves of this tick are over. */
  async tick(): Promise<void> {
    const batch: Promise<void>[] = [];
    for (const record of this.#owed.keys()) {
      if (this.#inFlight.has(record)) continue;
      if (batch.push(this.#write(record)) >= SAVES_PER_TICK) break;
    }
    await Promise.allSettled(batch);
  }

  /** Saves what waits, once. */
  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    for (const record of this.#due) this.flush(record);
    this.#due.clear();
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight.values());
  }

  #changed(record: ResumableRecord): void {
    // What is owed is saved with it, when the store is back.
    if (!this.#kept.has(record) || this.#hasFailed(record)) return;
    this.#due.add(record);
    this.#timer ??= setTimeout(() => this.#saveDue(), WINDOW_MS).unref();
  }

  #saveDue(): void {
    this.#timer = undefined;
    const due = [...this.#due];
    this.#due.clear();
    for (const record of due) {
      if (this.#inFlight.has(record)) this.#changed(record);
      else this.#save(record);
    }
  }

  #save(record: ResumableRecord): void {
    this.#due.delete(record);
    if (record.isDirty) this.#write(record).catch(() => (this.#counters.storeFailures += 1));
  }

  /** @throws what the store threw; then it is owed. */
  #write(record: ResumableRecord): Promise<void> {
    const writing = this.#writeOnce(record).finally(() => {
      this.#inFlight.delete(record);
      if (this.#hurried.delete(record)) this.flush(record);
    });
    this.#inFlight.set(record, writing);
    return writing;
  }

  async #writeOnce(record: ResumableRecord): Promise<void> {
    const changes = record.takeChanges();
    try {
      const outcome = await this.#store.save(changes);
      this.#owed.delete(record);
      switch (outcome) {
        case "saved":
          return;
        case "missing":
          record.makeWhole();
          this.#hurried.add(record);
          return;
        case "superseded":
          this.#forget(record);
          return;
        case "removed":
          this.#forget(record);
          record.onRemoved?.();
          return;
        case "replaced":
          this.#forget(record);
          record.onReplaced?.();
          return;
      }
    } catch (thrown) {
      record.giveBack(changes);
      // Behind the others: those whose part of the store is away shall not keep the rest from theirs.
      this.#owed.delete(record);
      this.#owe(record, "failed");
      throw thrown;
    }
  }

  #hasFailed(record: ResumableRecord): boolean {
    return this.#owed.get(record) === "failed";
  }

  /** What is owed already keeps its turn: else the last would never have theirs where all are owed again and again. */
  #owe(record: ResumableRecord, why: "failed" | "unhurried"): void {
    if (this.#owed.has(record)) return;
    this.#owed.set(record, why);
    if (this.#owed.size <= MAX_OWED) return;
    for (const oldest of this.#owed.keys()) {
      this.#owed.delete(oldest);
      return;
    }
  }

  #forget(record: ResumableRecord): void {
    this.#kept.delete(record);
    this.#due.delete(record);
    this.#owed.delete(record);
    this.#hurried.delete(record);
    record.onChange = undefined;
  }
}
