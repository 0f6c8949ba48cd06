/**
 * Keeps presence true to the sessions that live here: who is connected, and in which channels. No session waits for
 * it. What concerns one connection and subject is written in order, the newest wish only; what fails is written
 * later, paced and bounded. Everything is written again at an interval and after the store may have lost it.
 *
 * Sessions are stored under the place that they are reached at, their link; places in use are renewed. A session that
 * moves to another home is left as it is: the next home writes it under its own place, and nothing is announced.
 */
import { randomUUID } from "node:crypto";
import type { Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import type { Capability } from "#fanout/policy/policy.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { PresenceAnnouncer } from "./presence-announcer.js";
import type { PresenceCounters } from "./presence-counters.js";
import type { Announcement, PlacedConnection, PresenceStore } from "./presence-store.js";

/** What presence must know of a session. */
export interface PresentSession {
  readonly connectionId: string;
  readonly sessionId: string;
  readonly principal: { readonly app: string; readonly userId: string };
  /** How it is reached. */
  readonly link: object;
  readonly capability: Capability;
  /** Undefined before it is registered here. */
  readonly record: { readonly generation: number } | undefined;
  readonly follows: ReadonlyMap<string, { readonly channel: Channel }>;
}

export interface PresenceKeeperOptions {
  readonly store: PresenceStore;
  readonly announcer: PresenceAnnouncer;
  readonly presenceCounters: PresenceCounters;
  readonly counters: FanoutCounters;
  /** How long who lost their connection is still taken to be there. */
  readonly graceMs: number;
}

/** Where a write is the newest wish, what it does; it is done again until it succeeds. */
type Write = () => Promise<readonly Announcement[]>;

interface Owed {
  write: Write;
  isRunning: boolean;
}

/** A second, at most, beside what sessions write themselves. */
const WRITES_PER_TICK = 500;
/** Beyond so many the oldest is given up: the end of its place, or the next refresh, mends it. */
const MAX_OWED = 100_000;
const USER = "";

export class PresenceKeeper {
  readonly #options: PresenceKeeperOptions;
  /** By link. */
  readonly #places = new WeakMap<object, string>();
  readonly #livePlaces = new Set<string>();
  readonly #endedLinks = new WeakSet<object>();
  /** By connection and subject, in the order of the wishes. */
  readonly #owed = new Map<string, Owed>();

  constructor(options: PresenceKeeperOptions) {
    this.#options = options;
  }

  /** Changes that are still to be written. */
  get owed(): number {
    return this.#owed.size;
  }

  /** The session has been registered by this home. */
  registered(session: PresentSession): void {
    const connection = this.#placed(session);
    if (connection === undefined) return;
    this.#wish(session, USER, () => this.#options.store.connect(connection));
  }

  /** What a session says of the channels that it follows. */
  followingOf(session: PresentSession): (channel: Channel, isFollowed: boolean) => void {
    return (channel, isFollowed) =>
      isFollowed ? this.#joined(session, channel) : this.#leave(session, channel, 0);
  }

  /** Its socket is gone; it was in these channels. */
  gone(session: PresentSession, channels: Iterable<Channel>): void {
    const connection = this.#placed(session);
    if (connection === undefined) return;
    const { store, graceMs } = this.#options;
    for (const channel of channels) this.#leave(session, channel, graceMs);
    this.#wish(session, USER, () => store.disconnect(connection, graceMs));
  }

  /** It has, or will have, another home: nothing of it is written here any more. */
  moved(session: PresentSession): void {
    this.#owed.delete(keyOf(session, USER));
    for (const { channel } of session.follows.values()) this.#owed.delete(keyOf(session, channel.key));
  }

  /** Nobody is reached by it any more. What is left under its place is dropped when its time is over. */
  linkEnded(link: object): void {
    this.#endedLinks.add(link);
    this.#livePlaces.delete(this.#places.get(link) ?? "");
  }

  /** Has everything about live sessions written again, at the pace of ticks. */
  refresh(sessions: Iterable<PresentSession>): void {
    for (const session of sessions) {
      const connection = this.#placed(session);
      if (connection === undefined) continue;
      this.#owe(keyOf(session, USER), () => this.#options.store.connect(connection));
      for (const { channel } of session.follows.values()) {
        if (!hasMembers(channel)) continue;
        const member = { ...connection, channel, sessionId: session.sessionId };
        this.#owe(keyOf(session, channel.key), () => this.#options.store.join(member));
      }
    }
  }

  /** Renews the places in use. Called several times within a lease. */
  async renew(): Promise<void> {
    try {
      await this.#options.store.renew([...this.#livePlaces]);
    } catch {
      this.#options.counters.storeFailures += 1;
    }
  }

  /** Called once a second: writes what is owed. Resolves when the writes of this tick are over. */
  async tick(): Promise<void> {
    const batch: Promise<void>[] = [];
    for (const [key, owed] of this.#owed) {
      if (owed.isRunning) continue;
      if (batch.push(this.#run(key, owed)) >= WRITES_PER_TICK) break;
    }
    await Promise.all(batch);
  }

  #joined(session: PresentSession, channel: Channel): void {
    const connection = this.#placed(session);
    if (connection === undefined || !hasMembers(channel)) return;
    const member = { ...connection, channel, sessionId: session.sessionId };
    this.#wish(session, channel.key, () => this.#options.store.join(member));
  }

  #leave(session: PresentSession, channel: Channel, graceMs: number): void {
    const connection = this.#placed(session);
    if (connection === undefined || !hasMembers(channel)) return;
    this.#wish(session, channel.key, () => this.#options.store.leave({ ...connection, channel }, graceMs));
  }

  #wish(session: PresentSession, subject: string, write: Write): void {
    const key = keyOf(session, subject);
    const owed = this.#owe(key, write);
    if (!owed.isRunning) void this.#run(key, owed);
  }

  #owe(key: string, write: Write): Owed {
    const known = this.#owed.get(key);
    if (known !== undefined) {
      known.write = write;
      return known;
    }
    const owed = { write, isRunning: false };
    this.#owed.set(key, owed);
    if (this.#owed.size > MAX_OWED) this.#giveUpOldest();
    return owed;
  }

  /** Writes until nothing newer is wished, or the store refuses: then the next tick goes on. */
  async #run(key: string, owed: Owed): Promise<void> {
    owed.isRunning = true;
    try {
      for (;;) {
        const { write } = owed;
        await this.#options.announcer.announce(await write());
        if (owed.write !== write) continue;
        if (this.#owed.get(key) === owed) this.#owed.delete(key);
        return;
      }
    } catch {
      this.#options.counters.storeFailures += 1;
      // Behind the others: those whose part of the store is away shall not keep the rest from theirs.
      if (this.#owed.get(key) === owed) {
        this.#owed.delete(key);
        this.#owed.set(key, owed);
      }
    } finally {
      owed.isRunning = false;
    }
  }

  #giveUpOldest(): void {
    for (const key of this.#owed.keys()) {
      this.#owed.delete(key);
      this.#options.presenceCounters.abandoned += 1;
      return;
    }
  }

  /** Who has no account is nobody that others could see. */
  #placed({
    principal,
    connectionId,
    record,
    link,
    capability,
  }: PresentSession): PlacedConnection | undefined {
    if (record === undefined || capability === "anonymous") return undefined;
    const { app, userId } = principal;
    return { app, userId, connectionId, generation: record.generation, place: this.#placeOf(link) };
  }

  #placeOf(link: object): string {
    const known = this.#places.get(link);
    if (known !== undefined) return known;
    const place = randomUUID();
    this.#places.set(link, place);
    if (this.#endedLinks.has(link)) return place;
    this.#livePlaces.add(place);
    // Before anything is stored under it, so that it is never one that nobody looks after.
    void this.renew();
    return place;
  }
}

function hasMembers({ kind }: Channel): boolean {
  const members = CHANNEL_KINDS.get(kind)?.members;
  return members === "listed" || members === "told";
}

function keyOf({ connectionId }: PresentSession, subject: string): string {
  return `${connectionId} ${subject}`;
}
