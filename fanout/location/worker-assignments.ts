/**
 * Which channels a worker's locations reach: the orders and rides that they are assigned to. Known for
 * workers that live here, so that a location costs no look-up; read again when a signal says that something
 * changed, and at an interval because signals can be lost.
 */
import type { Channel } from "#fanout/channel/channel.js";
import type { Directory } from "#fanout/directory/directory.js";

const REFRESH_MS = 10_000;

interface Assignment {
  channels: readonly Channel[];
  readAtMs: number;
  isStale: boolean;
  reading: Promise<readonly Channel[]> | undefined;
}

export class WorkerAssignments {
  readonly #assignments = new Map<string, Assignment>();

  constructor(private readonly options: { readonly directory: Directory; readonly nowMs: () => number }) {}

  /** The channels now, or a promise of them where they must be read first. */
  of(app: string, workerId: string): readonly Channel[] | Promise<readonly Channel[]> {
    const known = this.#assignments.get(`${app}/${workerId}`);
    if (known === undefined) return this.#read(app, workerId);
    if (known.isStale) return known.reading ?? this.#read(app, workerId);
    if (this.options.nowMs() - known.readAtMs > REFRESH_MS && known.reading === undefined) {
      // What is known serves until the answer is there, or the store is.
      this.#read(app, workerId).catch(() => undefined);
    }
    return known.channels;
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
      channels: [],
      readAtMs: 0,
      isStale: true,
      reading: undefined,
    };
    this.#assignments.set(key, known);
    const reading = this.#readChannels(app, workerId);
    known.reading = reading;
    try {
      const channels = await reading;
      // A change in between has begun another reading, or asks for one.
      if (known.reading === reading) {
        known.channels = channels;
        known.readAtMs = this.options.nowMs();
        known.isStale = false;
      }
      return channels;
    } catch (error) {
      // Better a location for yesterday's orders than none, while the store is away.
      if (known.readAtMs > 0) return known.channels;
      throw error;
    } finally {
      if (known.reading === reading) known.reading = undefined;
    }
  }

  async #readChannels(app: string, workerId: string): Promise<readonly Channel[]> {
    const { parts, ended, isComplete } = await this.options.directory.recordOfUser(app, workerId);
    const channels = parts.filter(({ relation }) => relation === "assigned").map(({ channel }) => channel);
    if (isComplete) return channels;
    // While the directory is rebuilt, what was known and has not ended still holds.
    const named = new Set(parts.map(({ channel }) => channel.name));
    const known = this.#assignments.get(`${app}/${workerId}`)?.channels ?? [];
    return [...channels, ...known.filter(({ name }) => !named.has(name) && !ended.has(name))];
  }
}
