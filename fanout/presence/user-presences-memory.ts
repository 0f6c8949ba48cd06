/**
 * Which users are online, in this process: what `lua/change-user.lua` is in Redis. Who was last seen too long ago is
 * swept once a minute.
 */
import { MAX_CONNECTIONS, type PresenceStoreOptions } from "./presence-limits.js";
import type { PresenceIndexMemory } from "./presence-index-memory.js";
import type { Announcement, AvailableUser, PlacedConnection, UserPresence } from "./presence-store.js";
import { userSubject } from "./presence-subject.js";

type Status = "online" | "leaving" | "offline";

interface Known {
  readonly app: string;
  readonly userId: string;
  readonly subject: string;
  readonly connections: Map<string, { readonly generation: number; readonly place: string }>;
  status: Status;
  seenMs: number;
  /** The end of the last grace. */
  staysUntilMs: number;
  version: number;
  toldVersion: number;
  isAvailable: boolean | undefined;
  availableSinceUs: number;
}

const SWEEP_MS = 60_000;

export class UserPresencesMemory {
  readonly #index: PresenceIndexMemory;
  readonly #options: PresenceStoreOptions;
  /** By subject. */
  readonly #users = new Map<string, Known>();
  readonly #online = new Map<string, number>();
  #sweptAtMs = 0;

  constructor(index: PresenceIndexMemory, options: PresenceStoreOptions) {
    this.#index = index;
    this.#options = options;
  }

  get size(): number {
    return this.#users.size;
  }

  connect({ app, userId, connectionId, generation, place }: PlacedConnection): readonly Announcement[] {
    this.#sweepWhenDue();
    const user = this.#user(app, userId);
    const stored = user.connections.get(connectionId);
    if (stored !== undefined && stored.generation > generation) return [];
    if (stored === undefined && user.connections.size >= MAX_CONNECTIONS) return [];
    if (stored !== undefined) this.#index.unhold(stored.place, user.subject, connectionId);
    user.connections.set(connectionId, { generation, place });
    this.#index.hold(place, { subject: user.subject, connectionId, generation });
    const before = user.status;
    this.#become(user, "online");
    if (before === "offline") return [this.#changed(user)];
    if (before === "leaving") {
      if (user.version === user.toldVersion) this.#index.notDue(user.subject);
      else this.#dueIn(user, this.#options.announceWithinMs);
    }
    return [];
  }

  disconnect(
    { app, userId, connectionId, generation, place }: PlacedConnection,
    { graceMs, seenAtMs }: { readonly graceMs: number; readonly seenAtMs?: number },
  ): readonly Announcement[] {
    const subject = userSubject(app, userId);
    const user = this.#users.get(subject);
    const stored = user?.connections.get(connectionId);
    if (stored !== undefined && stored.generation > generation) return [];
    this.#index.unhold(place, subject, connectionId);
    if (user === undefined || stored === undefined) return [];
    this.#index.unhold(stored.place, subject, connectionId);
    user.connections.delete(connectionId);
    const nowMs = this.#index.nowMs();
    // Of several devices the one counts that was last there, also where the end of another is found out later.
    user.seenMs = Math.max(user.seenMs, seenAtMs ?? nowMs);
    if (graceMs > 0) user.staysUntilMs = nowMs + graceMs;
    if (user.connections.size > 0 || user.status !== "online") return [];
    if (user.staysUntilMs > nowMs) {
      this.#become(user, "leaving");
      this.#dueIn(user, user.staysUntilMs - nowMs);
      return [];
    }
    this.#become(user, "offline");
    return [this.#changed(user)];
  }

  setAvailable({ app, userId, isAvailable, saidAtUs }: AvailableUser): readonly Announcement[] {
    const user = this.#user(app, userId);
    const sinceUs = Math.min(saidAtUs, this.#index.nowUs());
    if (user.availableSinceUs >= sinceUs) return [];
    user.availableSinceUs = sinceUs;
    if (user.isAvailable === isAvailable) return [];
    user.isAvailable = isAvailable;
    return user.status === "offline" ? [] : [this.#changed(user)];
  }

  presence(app: string, userId: string): UserPresence {
    const user = this.#users.get(userSubject(app, userId));
    return user === undefined ? { userId, isOnline: false, lastSeenMs: 0, version: 0 } : presenceOf(user);
  }

  countOnline(app: string): number {
    return this.#online.get(app) ?? 0;
  }

  settle({ app, userId }: { readonly app: string; readonly userId: string }): readonly Announcement[] {
    const subject = userSubject(app, userId);
    if (!this.#index.isDue(subject)) return [];
    const user = this.#users.get(subject);
    if (user?.status === "leaving") {
      this.#become(user, "offline");
      return [this.#changed(user)];
    }
    if (user !== undefined && user.version !== user.toldVersion) {
      this.#dueIn(user, this.#options.announceWithinMs);
      return [announcementOf(user)];
    }
    this.#index.notDue(subject);
    return [];
  }

  announced({ app, presence }: Extract<Announcement, { type: "presence" }>): void {
    const user = this.#users.get(userSubject(app, presence.userId));
    if (user?.version !== presence.version) return;
    user.toldVersion = user.version;
    if (user.status !== "leaving") this.#index.notDue(user.subject);
  }

  #changed(user: Known): Announcement {
    user.version = Math.max(this.#index.nowUs(), user.version + 1);
    // Who is leaving is due at the end of the grace.
    if (user.status !== "leaving") this.#dueIn(user, this.#options.announceWithinMs);
    return announcementOf(user);
  }

  #become(user: Known, next: Status): void {
    const wasOffline = user.status === "offline";
    if (wasOffline !== (next === "offline")) {
      const online = this.countOnline(user.app) + (wasOffline ? 1 : -1);
      if (online > 0) this.#online.set(user.app, online);
      else this.#online.delete(user.app);
    }
    user.status = next;
  }

  #dueIn(user: Known, ms: number): void {
    this.#index.dueAt(user.subject, this.#index.nowMs() + ms);
  }

  #user(app: string, userId: string): Known {
    const subject = userSubject(app, userId);
    const known = this.#users.get(subject);
    if (known !== undefined) return known;
    const made: Known = {
      app,
      userId,
      subject,
      connections: new Map(),
      status: "offline",
      seenMs: 0,
      staysUntilMs: 0,
      version: 0,
      toldVersion: 0,
      isAvailable: undefined,
      availableSinceUs: 0,
    };
    this.#users.set(subject, made);
    return made;
  }

  #sweepWhenDue(): void {
    const nowMs = this.#index.nowMs();
    if (nowMs - this.#sweptAtMs < SWEEP_MS) return;
    this.#sweptAtMs = nowMs;
    for (const [subject, { status, seenMs }] of this.#users) {
      if (status === "offline" && seenMs + this.#options.lastSeenTtlMs <= nowMs) this.#users.delete(subject);
    }
  }
}

function announcementOf(user: Known): Announcement {
  return { type: "presence", app: user.app, presence: presenceOf(user) };
}

function presenceOf({ userId, status, seenMs, isAvailable, version }: Known): UserPresence {
  const isOnline = status !== "offline";
  return {
    userId,
    isOnline,
    lastSeenMs: isOnline ? 0 : seenMs,
    ...(isAvailable !== undefined && { isAvailable: isOnline && isAvailable }),
    version,
  };
}
