/** When something is to be done about whom, and which connections each place holds, in this process. */
import type { StoreClock } from "#fanout/store-clock.js";
import { HELD_PER_PARTITION } from "./presence-limits.js";
import type { DueSubject, HeldConnection, LapsedPlace } from "./presence-store.js";
import { heldName } from "./presence-subject.js";

/** Here one partition has them all, and to find them is to look at each. */
const DUE_AT_A_TIME = 1_000;

export class PresenceIndexMemory {
  readonly #clock: StoreClock;
  readonly #due = new Map<string, number>();
  /** By place, then connection: its generation. */
  readonly #held = new Map<string, Map<string, number>>();
  readonly #renewedAtMs = new Map<string, number>();

  constructor(clock: StoreClock) {
    this.#clock = clock;
  }

  nowUs(): number {
    return this.#clock.nowUs();
  }

  nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  dueAt(subject: string, atMs: number): void {
    this.#due.set(subject, atMs);
  }

  notDue(subject: string): void {
    this.#due.delete(subject);
  }

  isDue(subject: string): boolean {
    return (this.#due.get(subject) ?? Infinity) <= this.nowMs();
  }

  due(): readonly DueSubject[] {
    const nowMs = this.nowMs();
    const due = [...this.#due]
      .filter(([, atMs]) => atMs <= nowMs)
      .sort(([, left], [, right]) => left - right);
    return due.slice(0, DUE_AT_A_TIME).map(([text]) => ({ partition: 0, text }));
  }

  hold(place: string, held: { subject: string; connectionId: string; generation: number }): void {
    const connections = this.#held.get(place) ?? new Map<string, number>();
    this.#held.set(place, connections);
    connections.set(heldName(held.subject, held.connectionId), held.generation);
  }

  unhold(place: string, subject: string, connectionId: string): void {
    const connections = this.#held.get(place);
    connections?.delete(heldName(subject, connectionId));
    if (connections?.size === 0) this.#held.delete(place);
  }

  held(place: string): readonly HeldConnection[] {
    return [...(this.#held.get(place) ?? [])]
      .slice(0, HELD_PER_PARTITION)
      .map(([text, generation]) => ({ partition: 0, place, text, generation }));
  }

  renew(places: readonly string[]): void {
    for (const place of places) this.#renewedAtMs.set(place, this.nowMs());
  }

  lapsed(leaseMs: number): readonly LapsedPlace[] {
    const latestMs = this.nowMs() - leaseMs;
    return [...this.#renewedAtMs]
      .filter(([, renewedAtMs]) => renewedAtMs <= latestMs)
      .map(([place, renewedAtMs]) => ({ place, renewedAtMs }));
  }

  forget(place: string): void {
    this.#renewedAtMs.delete(place);
  }
}
