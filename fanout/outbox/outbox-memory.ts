/**
 * The outbox in this process: filled by the memory broker in the step that stores the event, emptied by the
 * process's own relay. Outboxes on one MemoryOutboxEntries stand for relays of several fanouts.
 */
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import { LEASE_COUNT } from "./outbox.js";
import type { Outbox, OutboxBacklog, OutboxEntry, OutboxPage, ReadLimits } from "./outbox.js";

type Listener = () => void;

/** What the outboxes of one process share. Whoever adds minds the bound: `count` says what waits. */
export class MemoryOutboxEntries {
  readonly #clock: StoreClock;
  readonly #partitions = new Map<number, OutboxEntry[]>();
  readonly #listeners = new Map<number, Set<Listener>>();
  readonly #leases = new Map<number, { readonly holder: string; readonly expiresAtMs: number }>();
  #lastId = 0;

  constructor(clock: StoreClock = new SystemClock()) {
    this.#clock = clock;
  }

  nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  count(partition: number): number {
    return this.#partitions.get(partition)?.length ?? 0;
  }

  add(partition: number, entry: Omit<OutboxEntry, "id">): void {
    this.#lastId += 1;
    const waiting = this.#partitions.get(partition) ?? [];
    this.#partitions.set(partition, waiting);
    waiting.push({ ...entry, id: String(this.#lastId) });
    // Later, as from a store: a publisher's own code never runs inside a relay's.
    for (const listener of this.#listeners.get(partition) ?? []) queueMicrotask(listener);
  }

  waiting(partition: number): readonly OutboxEntry[] {
    return this.#partitions.get(partition) ?? [];
  }

  remove(partition: number, ids: ReadonlySet<string>): void {
    const left = this.waiting(partition).filter(({ id }) => !ids.has(id));
    if (left.length > 0) this.#partitions.set(partition, left);
    else this.#partitions.delete(partition);
  }

  holderOf(lease: number): string | undefined {
    const held = this.#leases.get(lease);
    return held !== undefined && held.expiresAtMs > this.nowMs() ? held.holder : undefined;
  }

  /** Without a holder nobody has it. */
  lease(lease: number, holder: string | undefined, lifetimeMs = 0): void {
    if (lease < 0 || lease >= LEASE_COUNT) throw new RangeError("there is no such lease");
    if (holder === undefined) this.#leases.delete(lease);
    else this.#leases.set(lease, { holder, expiresAtMs: this.nowMs() + lifetimeMs });
  }

  addListener(partition: number, listener: Listener): void {
    const listeners = this.#listeners.get(partition) ?? new Set();
    this.#listeners.set(partition, listeners.add(listener));
  }

  removeListener(partition: number, listener: Listener): void {
    const listeners = this.#listeners.get(partition);
    listeners?.delete(listener);
    if (listeners?.size === 0) this.#listeners.delete(partition);
  }
}

export class MemoryOutbox implements Outbox {
  readonly #entries: MemoryOutboxEntries;
  readonly #listened = new Map<number, Listener>();

  constructor(entries: MemoryOutboxEntries) {
    this.#entries = entries;
  }

  async take(lease: number, holder: string, lifetimeMs: number): Promise<boolean> {
    const present = this.#entries.holderOf(lease);
    if (present !== undefined && present !== holder) return false;
    this.#entries.lease(lease, holder, lifetimeMs);
    return true;
  }

  async renew(lease: number, holder: string, lifetimeMs: number): Promise<boolean> {
    if (this.#entries.holderOf(lease) !== holder) return false;
    this.#entries.lease(lease, holder, lifetimeMs);
    return true;
  }

  async release(lease: number, holder: string): Promise<void> {
    if (this.#entries.holderOf(lease) === holder) this.#entries.lease(lease, undefined);
  }

  async read(partition: number, limits: ReadLimits): Promise<OutboxPage> {
    const entries: OutboxEntry[] = [];
    let bytes = 0;
    for (const entry of this.#entries.waiting(partition)) {
      bytes += entry.payload.byteLength;
      const fits = entries.length < limits.maxEntries && (entries.length === 0 || bytes <= limits.maxBytes);
      if (!fits) return { entries, hasMore: true };
      entries.push(entry);
    }
    return { entries, hasMore: false };
  }

  async remove(partition: number, entries: readonly OutboxEntry[]): Promise<void> {
    this.#entries.remove(partition, new Set(entries.map(({ id }) => id)));
  }

  async backlog(partitions: readonly number[]): Promise<readonly OutboxBacklog[]> {
    const nowMs = this.#entries.nowMs();
    return partitions.map((partition) => {
      const waiting = this.#entries.waiting(partition);
      const oldestMs = waiting[0]?.timeMs ?? nowMs;
      return { count: waiting.length, oldestAgeMs: Math.max(0, nowMs - oldestMs) };
    });
  }

  async listen(partition: number, onNews: () => void): Promise<void> {
    if (this.#listened.has(partition)) throw new Error("a partition is listened to twice by one outbox");
    const listener = (): void => {
      if (this.#listened.get(partition) === listener) onNews();
    };
    this.#listened.set(partition, listener);
    this.#entries.addListener(partition, listener);
  }

  unlisten(partition: number): void {
    const listener = this.#listened.get(partition);
    if (listener === undefined) return;
    this.#listened.delete(partition);
    this.#entries.removeListener(partition, listener);
  }
}
