/**
 * The session registry in this process: the embedded default. Records of edges whose lease has ended are
 * passed over at once and swept a minute after.
 */
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import type { SessionRegistry } from "./session-registry.js";
import { oldestFirst, SWEEP_GRACE_MS } from "./session-order.js";

interface Kept {
  readonly record: SessionRecord;
  readonly putAtMs: number;
}

export class MemorySessionRegistry implements SessionRegistry {
  readonly #clock: StoreClock;
  /** By app and user, then connection. */
  readonly #sessions = new Map<string, Map<string, Kept>>();
  readonly #leaseEndsAtMs = new Map<string, number>();
  #sweptAtMs = 0;

  constructor(options: { readonly clock?: StoreClock } = {}) {
    this.#clock = options.clock ?? new SystemClock();
  }

  /** How many users have records, living or not yet swept. */
  get size(): number {
    return this.#sessions.size;
  }

  async put(record: SessionRecord): Promise<void> {
    this.#sweepWhenDue();
    const key = userKey(record.app, record.userId);
    const ofUser = this.#sessions.get(key) ?? new Map<string, Kept>();
    const stored = ofUser.get(record.connectionId);
    if (stored && stored.record.generation > record.generation) return;
    ofUser.set(record.connectionId, { record, putAtMs: this.#nowMs() });
    this.#sessions.set(key, ofUser);
  }

  async admit(record: SessionRecord, many: number): Promise<readonly SessionRecord[]> {
    const { app, userId, connectionId } = record;
    // Nothing comes in between: both are done before the first of them gives way.
    const [, all] = await Promise.all([this.put(record), this.ofUser(app, userId)]);
    const others = all.filter((each) => each.connectionId !== connectionId);
    return others.length < many ? [] : others;
  }

  async remove(record: SessionRecord): Promise<void> {
    const key = userKey(record.app, record.userId);
    const ofUser = this.#sessions.get(key);
    const stored = ofUser?.get(record.connectionId);
    if (!ofUser || !stored || stored.record.generation > record.generation) return;
    ofUser.delete(record.connectionId);
    if (ofUser.size === 0) this.#sessions.delete(key);
  }

  async ofUser(app: string, userId: string): Promise<readonly SessionRecord[]> {
    const nowMs = this.#nowMs();
    return [...(this.#sessions.get(userKey(app, userId))?.values() ?? [])]
      .map(({ record }) => record)
      .filter(({ edgeIncarnation }) => (this.#leaseEndsAtMs.get(edgeIncarnation) ?? 0) > nowMs)
      .sort(oldestFirst);
  }

  async renewEdge(incarnation: string, leaseMs: number): Promise<void> {
    this.#leaseEndsAtMs.set(incarnation, this.#nowMs() + leaseMs);
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  #sweepWhenDue(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs < SWEEP_GRACE_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [edge, endsAtMs] of this.#leaseEndsAtMs) {
      if (endsAtMs + SWEEP_GRACE_MS <= nowMs) this.#leaseEndsAtMs.delete(edge);
    }
    for (const [key, ofUser] of this.#sessions) {
      for (const [connectionId, { record, putAtMs }] of ofUser) {
        const isGone = !this.#leaseEndsAtMs.has(record.edgeIncarnation);
        if (isGone && putAtMs + SWEEP_GRACE_MS <= nowMs) ofUser.delete(connectionId);
      }
      if (ofUser.size === 0) this.#sessions.delete(key);
    }
  }
}

function userKey(app: string, userId: string): string {
  return JSON.stringify([app, userId]);
}
