/** The directory in this process: the embedded default. One record serves both ways of reading it. */
import type { Channel } from "#fanout/channel/channel.js";
import { SystemClock, type StoreClock } from "#fanout/store-clock.js";
import type { Directory, DirectoryRecord, Participation } from "./directory.js";

const SWEEP_INTERVAL_MS = 60_000;
/** For so long it is known that a part has ended. */
const ENDED_LATELY_MS = 60_000;

export class MemoryDirectory implements Directory {
  readonly #clock: StoreClock;
  /** By channel key, then user. */
  readonly #byChannel = new Map<string, Map<string, Participation>>();
  /** By app and user, then channel key. */
  readonly #byUser = new Map<string, Map<string, Participation>>();
  /** By channel key, then user: until when it counts as lately; and by app and user, then channel name. */
  readonly #ended = new Map<string, Map<string, number>>();
  /** By channel key, or app and user. */
  readonly #versions = new Map<string, number>();
  #changes = 0;
  #sweptAtMs = 0;

  constructor(options: { readonly clock?: StoreClock } = {}) {
    this.#clock = options.clock ?? new SystemClock();
  }

  /** In how many channels somebody takes part. */
  get size(): number {
    return this.#byChannel.size;
  }

  async grant(participation: Participation): Promise<void> {
    const { channel, userId } = participation;
    this.#sweepWhenDue();
    within(this.#byChannel, channel.key).set(userId, participation);
    const ofUser = within(this.#byUser, userKey(channel.app, userId));
    // What is granted again stands last.
    ofUser.delete(channel.key);
    ofUser.set(channel.key, participation);
    removeFrom(this.#ended, channel.key, userId);
    removeFrom(this.#ended, userKey(channel.app, userId), channel.name);
    this.#changed(channel, userId);
  }

  async end(channel: Channel, userId: string): Promise<void> {
    this.#sweepWhenDue();
    removeFrom(this.#byChannel, channel.key, userId);
    removeFrom(this.#byUser, userKey(channel.app, userId), channel.key);
    const untilMs = this.#nowMs() + ENDED_LATELY_MS;
    within(this.#ended, channel.key).set(userId, untilMs);
    within(this.#ended, userKey(channel.app, userId)).set(channel.name, untilMs);
    this.#changed(channel, userId);
  }

  async participation(channel: Channel, userId: string): Promise<Participation | undefined> {
    const found = this.#byChannel.get(channel.key)?.get(userId);
    return found && found.expiresAtMs > this.#nowMs() ? found : undefined;
  }

  async participants(channel: Channel): Promise<readonly Participation[]> {
    return this.#living(this.#byChannel.get(channel.key));
  }

  async participationsOf(app: string, userId: string): Promise<readonly Participation[]> {
    return this.#living(this.#byUser.get(userKey(app, userId)));
  }

  async recordOf(channel: Channel): Promise<DirectoryRecord> {
    return this.#record(await this.participants(channel), channel.key);
  }

  async recordOfUser(app: string, userId: string): Promise<DirectoryRecord> {
    return this.#record(await this.participationsOf(app, userId), userKey(app, userId));
  }

  async versions(channels: readonly Channel[]): Promise<readonly number[]> {
    return channels.map(({ key, app, kind, id }) => {
      return this.#versions.get(kind === "user" ? userKey(app, id) : key) ?? 0;
    });
  }

  /** It is lost with the process: never incomplete. */
  #record(parts: readonly Participation[], key: string): DirectoryRecord {
    const nowMs = this.#nowMs();
    const ended = [...(this.#ended.get(key) ?? [])].filter(([, untilMs]) => untilMs > nowMs);
    const version = this.#versions.get(key) ?? 0;
    return { parts, ended: new Set(ended.map(([whose]) => whose)), isComplete: true, version };
  }

  #changed(channel: Channel, userId: string): void {
    this.#changes += 1;
    for (const key of [channel.key, userKey(channel.app, userId)]) this.#versions.set(key, this.#changes);
  }

  #living(found: ReadonlyMap<string, Participation> | undefined): Participation[] {
    const nowMs = this.#nowMs();
    return [...(found?.values() ?? [])].filter(({ expiresAtMs }) => expiresAtMs > nowMs);
  }

  #nowMs(): number {
    return Math.floor(this.#clock.nowUs() / 1000);
  }

  #sweepWhenDue(): void {
    const nowMs = this.#nowMs();
    if (nowMs - this.#sweptAtMs < SWEEP_INTERVAL_MS) return;
    this.#sweptAtMs = nowMs;
    for (const map of [this.#byChannel, this.#byUser]) {
      for (const [outer, inner] of map) {
        for (const [key, { expiresAtMs }] of inner) if (expiresAtMs <= nowMs) inner.delete(key);
        if (inner.size === 0) map.delete(outer);
      }
    }
    for (const [outer, inner] of this.#ended) {
      for (const [key, untilMs] of inner) if (untilMs <= nowMs) inner.delete(key);
      if (inner.size === 0) this.#ended.delete(outer);
    }
    for (const key of this.#versions.keys()) {
      if (!this.#byChannel.has(key) && !this.#byUser.has(key)) this.#versions.delete(key);
    }
  }
}

function userKey(app: string, userId: string): string {
  return JSON.stringify([app, userId]);
}

function within<T>(map: Map<string, Map<string, T>>, key: string): Map<string, T> {
  const found = map.get(key);
  if (found) return found;
  const made = new Map<string, T>();
  map.set(key, made);
  return made;
}

function removeFrom(map: Map<string, Map<string, unknown>>, outer: string, inner: string): void {
  const found = map.get(outer);
  found?.delete(inner);
  if (found?.size === 0) map.delete(outer);
}
