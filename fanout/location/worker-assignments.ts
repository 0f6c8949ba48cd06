/**
 * Which channels a worker's locations reach: the orders and rides that they are assigned to. Known for
 * workers that live here, so that a location costs no look-up; read again when a signal says that something
 * changed, and at an interval because signals can be lost. A part that ends by itself is over to the millisecond, also
 * while the store is away.
 */
import type { Channel } from "#fanout/channel/channel.js";
import type { Directory, Participation } from "#fanout/directory/directory.js";
import type { StoreClock } from "../store-clock.js";

/** Kinds of channels that locations reach. Who works in a group or a booking does not tell where they are by that. */
export const KINDS_WITH_LOCATIONS: ReadonlySet<string> = new Set(["order", "ride"]);

const REFRESH_MS = 10_000;

interface Assignment {
  parts: readonly Participation[];
  /** Those of the parts. */
  channels: readonly Channel[];
  /** When the first of the parts ends by itself. */
  endsAtMs: number;
  readAtMs: number;
  isStale: boolean;
  reading: Promise<readonly Channel[]> | undefined;
}

export class WorkerAssignments {
  readonly #assignments = new Map<string, Assignment>();

  constructor(
    private readonly options: {
      readonly directory: Directory;
      readonly clock: StoreClock;
      /** Monotonic. */
      readonly nowMs: () => number;
    },
  ) {}

  /** The channels now, or a promise of them where they must be read first. */
  of(app: string, workerId: string): readonly Channel[] | Promise<readonly Channel[]> {
    const known = this.#assignments.get(`${app}/${workerId}`);
    if (known === undefined) return this.#read(app, workerId);
    if (known.isStale) return known.reading ?? this.#read(app, workerId);
    if (this.options.nowMs() - known.readAtMs > REFRESH_MS && known.reading === undefined) {
      // What is known serves until the answer is there, or the store is.
      this.#read(app, workerId).catch(() => undefined);
    }
    return this.#channelsOf(known);
  }

  /** Something changed: read again before the next location. */
  changed(app: string, workerId: string): void {
    const known = this.#assignments.get(`${app}/${workerId}`);
    if (known === undefined) return;
    known.isStale = true;
    known.reading = undefined;
  }

  /** The worker lives here no more. */
  forget(app: string, workerId: string): void {
    this.#assignments.delete(`${app}/${workerId}`);
  }

  async #read(app: string, workerId: string): Promise<readonly Channel[]> {
    const key = `${app}/${workerId}`;
    const known: Assignment = this.#assignments.get(key) ?? {
      parts: [],
      channels: [],
      endsAtMs: Infinity,
      readAtMs: 0,
      isStale: true,
      reading: undefined,
    };
    this.#assignments.set(key, known);
    const reading = this.#readParts(app, workerId);
    const channels = reading.then((parts) => parts.map(({ channel }) => channel));
    channels.catch(() => undefined);
    known.reading = channels;
    try {
      const parts = await reading;
      // A change in between has begun another reading, or asks for one.
      if (known.reading === channels) {
        hold(known, parts);
        known.readAtMs = this.options.nowMs();
        known.isStale = false;
      }
      return await channels;
    } catch (error) {
      // Better a location for yesterday's orders than none, while the store is away.
      if (known.readAtMs > 0) return this.#channelsOf(known);
      throw error;
    } finally {
      if (known.reading === channels) known.reading = undefined;
    }
  }

  #channelsOf(known: Assignment): readonly Channel[] {
    const nowMs = this.options.clock.nowUs() / 1000;
    if (known.endsAtMs <= nowMs)
      hold(
        known,
        known.parts.filter(({ expiresAtMs }) => expiresAtMs > nowMs),
      );
    return known.channels;
  }

  async #readParts(app: string, workerId: string): Promise<readonly Participation[]> {
    const { parts, ended, isComplete } = await this.options.directory.recordOfUser(app, workerId);
    const assigned = parts.filter(
      ({ relation, channel }) => relation === "assigned" && KINDS_WITH_LOCATIONS.has(channel.kind),
    );
    if (isComplete) return assigned;
    // While the directory is rebuilt, what was known and has not ended still holds.
    const named = new Set(parts.map(({ channel }) => channel.name));
    const known = this.#assignments.get(`${app}/${workerId}`)?.parts ?? [];
    return [...assigned, ...known.filter(({ channel: { name } }) => !named.has(name) && !ended.has(name))];
  }
}

function hold(known: Assignment, parts: readonly Participation[]): void {
  known.parts = parts;
  known.channels = parts.map(({ channel }) => channel);
  known.endsAtMs = Math.min(...parts.map(({ expiresAtMs }) => expiresAtMs));
}
