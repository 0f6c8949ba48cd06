/**
 * Does what nobody lives any more to do: ends graces, gives announcements again, and drops what is left under places
 * that ended, so that a killed edge leaves no ghosts. Every fanout does it; of each change the store tells only one,
 * who announces it.
 *
 * A place counts as ended when its lease is over and this process has seen that for a while without a failure: while
 * the store was away nobody could renew anything, and those who live do so first.
 */
import type { FanoutCounters } from "../fanout-counters.js";
import type { PresenceAnnouncer } from "./presence-announcer.js";
import type { PresenceCounters } from "./presence-counters.js";
import { DUE_PER_PARTITION } from "./presence-limits.js";
import type { DueSubject, LapsedPlace, PresenceStore } from "./presence-store.js";

/** How long a place lives after it was renewed. */
export const PLACE_LEASE_MS = 15_000;
/** Longer than the interval at which places are renewed. */
export const LAPSED_FOR_MS = 8_000;
/** Of one place, in one look: a room lies in one partition, however many were in it at an edge that was killed. */
const MAX_ROUNDS = 200;
/** In one look, so that a storm of graces that end leaves room for what apps say. */
const MAX_SETTLED = 6_400;

export interface PresenceReaperOptions {
  readonly store: PresenceStore;
  readonly announcer: PresenceAnnouncer;
  readonly presenceCounters: PresenceCounters;
  readonly counters: FanoutCounters;
  readonly nowMs: () => number;
  readonly leaseMs?: number;
  readonly lapsedForMs?: number;
}

export class PresenceReaper {
  readonly #options: PresenceReaperOptions;
  /** Since when this process has seen it lapsed, by place. */
  readonly #lapsedSinceMs = new Map<string, number>();
  #isSettling = false;
  #isDropping = false;

  constructor(options: PresenceReaperOptions) {
    this.#options = options;
  }

  /** Does what is due. Never fails. */
  async settleDue(): Promise<void> {
    if (this.#isSettling) return;
    this.#isSettling = true;
    const { store, announcer, counters } = this.#options;
    try {
      let settled = 0;
      let partitions: readonly number[] | undefined;
      do {
        const subjects = await store.due(partitions);
        await Promise.all(subjects.map(async (subject) => announcer.announce(await store.settle(subject))));
        settled += subjects.length;
        partitions = partitionsWithMore(subjects);
      } while (partitions.length > 0 && settled < MAX_SETTLED);
    } catch {
      counters.storeFailures += 1;
    } finally {
      this.#isSettling = false;
    }
  }

  /** Drops what places held that have ended. Never fails. */
  async dropLapsed(): Promise<void> {
    if (this.#isDropping) return;
    this.#isDropping = true;
    const { store, counters, leaseMs = PLACE_LEASE_MS } = this.#options;
    try {
      for (const lapsed of this.#ended(await store.lapsed(leaseMs))) await this.#drop(lapsed);
    } catch {
      counters.storeFailures += 1;
      this.#lapsedSinceMs.clear();
    } finally {
      this.#isDropping = false;
    }
  }

  /** Those that have been lapsed for long enough. */
  #ended(lapsed: readonly LapsedPlace[]): readonly LapsedPlace[] {
    const { nowMs, lapsedForMs = LAPSED_FOR_MS } = this.#options;
    const now = nowMs();
    const places = new Set(lapsed.map(({ place }) => place));
    for (const place of this.#lapsedSinceMs.keys()) if (!places.has(place)) this.#lapsedSinceMs.delete(place);
    return lapsed.filter(({ place }) => {
      const sinceMs = this.#lapsedSinceMs.get(place) ?? now;
      this.#lapsedSinceMs.set(place, sinceMs);
      return now - sinceMs >= lapsedForMs;
    });
  }

  async #drop({ place, renewedAtMs }: LapsedPlace): Promise<void> {
    const { store, announcer, presenceCounters } = this.#options;
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const held = await store.held(place);
      if (held.length === 0) {
        await store.forget(place);
        this.#lapsedSinceMs.delete(place);
        return;
      }
      await Promise.all(
        held.map(async (connection) => {
          const announcements = await store.drop(connection, renewedAtMs);
          presenceCounters.dropped += 1;
          await announcer.announce(announcements);
        }),
      );
    }
  }
}

/** Those that gave as many as they give at a time: all members of a room are due in one. */
function partitionsWithMore(subjects: readonly DueSubject[]): readonly number[] {
  const counts = new Map<number, number>();
  for (const { partition } of subjects) counts.set(partition, (counts.get(partition) ?? 0) + 1);
  return [...counts].filter(([, count]) => count >= DUE_PER_PARTITION).map(([partition]) => partition);
}
