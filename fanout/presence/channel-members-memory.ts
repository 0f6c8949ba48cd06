/** Who is in which channel, in this process: what `lua/change-member.lua` is in Redis. */
import type { Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import type { PresenceIndexMemory } from "./presence-index-memory.js";
import { MAX_MEMBERS, MAX_MEMBERSHIPS, type PresenceStoreOptions } from "./presence-limits.js";
import type { Announcement, MemberConnection, MembersPage } from "./presence-store.js";
import { memberSubject } from "./presence-subject.js";

interface Membership {
  /** By which it is known: the connection that joined. */
  readonly name: string;
  readonly stamp: string;
  connectionId: string;
  sessionId: string;
  generation: number;
  /** Absent in the grace, and after it. */
  place: string | undefined;
  graceEndsAtMs: number | undefined;
  isJoinedOwed: boolean;
  /** It has ended, and that is not told yet. */
  isLeftOwed: boolean;
  owedAtMs: number | undefined;
}

interface MemberSubject {
  readonly channel: Channel;
  readonly userId: string;
}

interface Room {
  /** By user. */
  readonly memberships: Map<string, Membership[]>;
  /** Those who are in it: not those of whom only `left` is still to be told. */
  readonly members: Set<string>;
  /** The members in order; undefined since they changed. */
  sorted: readonly string[] | undefined;
}

type Leaving = Omit<MemberConnection, "sessionId">;

export class ChannelMembersMemory {
  readonly #index: PresenceIndexMemory;
  readonly #options: PresenceStoreOptions;
  /** By the channel's key. */
  readonly #rooms = new Map<string, Room>();

  constructor(index: PresenceIndexMemory, options: PresenceStoreOptions) {
    this.#index = index;
    this.#options = options;
  }

  get size(): number {
    return this.#rooms.size;
  }

  join(member: MemberConnection): readonly Announcement[] {
    const { channel, userId, connectionId, sessionId, generation, place } = member;
    const memberships = this.#of(member);
    const living = memberships.filter(({ isLeftOwed }) => !isLeftOwed);
    const own = living.find((each) => each.connectionId === connectionId);
    const found =
      own ??
      living.find((each) => each.sessionId === sessionId) ??
      living.find(({ graceEndsAtMs }) => graceEndsAtMs !== undefined);
    const announcements: Announcement[] = [];
    if (found === undefined) {
      const total = this.#count(channel);
      if (memberships.length >= MAX_MEMBERSHIPS || (living.length === 0 && total >= MAX_MEMBERS)) return [];
      const membership: Membership = {
        name: connectionId,
        stamp: String(this.#index.nowUs()),
        connectionId,
        sessionId,
        generation,
        place,
        graceEndsAtMs: undefined,
        isJoinedOwed: false,
        isLeftOwed: false,
        owedAtMs: undefined,
      };
      memberships.push(membership);
      if (total + (living.length === 0 ? 1 : 0) <= this.#toldUpTo(channel)) {
        membership.isJoinedOwed = true;
        announcements.push(...this.#announce(member, membership));
      }
    } else {
      // A home that is older, or a connection that another one continues, takes nothing over.
      const mustBeNewer = found === own || found.graceEndsAtMs === undefined;
      if (mustBeNewer && found.generation > generation) return [];
      this.#unhold(member, found);
      Object.assign(found, { connectionId, sessionId, generation, place, graceEndsAtMs: undefined });
    }
    this.#index.hold(place, { subject: memberSubject(channel, userId), connectionId, generation });
    this.#save(member, memberships);
    return announcements;
  }

  leave(member: Leaving, graceMs: number): readonly Announcement[] {
    const { channel, userId, connectionId, generation, place } = member;
    const memberships = this.#of(member);
    const found = memberships.find((each) => !each.isLeftOwed && each.connectionId === connectionId);
    if (found === undefined || found.graceEndsAtMs !== undefined || found.generation > generation) {
      if (found?.place !== place) this.#index.unhold(place, memberSubject(channel, userId), connectionId);
      return [];
    }
    this.#unhold(member, found);
    if (graceMs > 0) {
      found.graceEndsAtMs = this.#index.nowMs() + graceMs;
      this.#save(member, memberships);
      return [];
    }
    const announcements = this.#finish(member, found, memberships);
    this.#save(member, memberships);
    return announcements;
  }

  page(channel: Channel, after: string, limit: number): MembersPage {
    const room = this.#rooms.get(channel.key);
    if (room === undefined) return { userIds: [], total: 0 };
    room.sorted ??= [...room.members].sort(byBytes);
    const from = after === "" ? 0 : firstBehind(room.sorted, after);
    return { userIds: room.sorted.slice(from, from + limit), total: room.sorted.length };
  }

  settle(subject: MemberSubject): readonly Announcement[] {
    if (!this.#index.isDue(memberSubject(subject.channel, subject.userId))) return [];
    const memberships = this.#of(subject);
    const nowMs = this.#index.nowMs();
    const announcements = [...memberships].flatMap((membership) => {
      if (membership.graceEndsAtMs !== undefined && membership.graceEndsAtMs <= nowMs)
        return this.#finish(subject, membership, memberships);
      const isOwed = membership.owedAtMs !== undefined && membership.owedAtMs <= nowMs;
      return isOwed ? this.#announce(subject, membership) : [];
    });
    this.#save(subject, memberships);
    return announcements;
  }

  announced(announcement: Extract<Announcement, { type: "membership" }>): void {
    const { connectionId, stamp, hasJoined } = announcement;
    const memberships = this.#of(announcement);
    for (const membership of [...memberships]) {
      if (membership.name !== connectionId || membership.stamp !== stamp) continue;
      if (!hasJoined) memberships.splice(memberships.indexOf(membership), 1);
      membership.isJoinedOwed = false;
      if (!membership.isLeftOwed) membership.owedAtMs = undefined;
    }
    this.#save(announcement, memberships);
  }

  #finish(
    subject: MemberSubject,
    membership: Membership,
    memberships: Membership[],
  ): readonly Announcement[] {
    membership.graceEndsAtMs = undefined;
    if (membership.isJoinedOwed || this.#count(subject.channel) <= this.#toldUpTo(subject.channel)) {
      membership.isLeftOwed = true;
      return this.#announce(subject, membership);
    }
    memberships.splice(memberships.indexOf(membership), 1);
    return [];
  }

  #announce({ channel, userId }: MemberSubject, membership: Membership): readonly Announcement[] {
    const { name: connectionId, stamp, isJoinedOwed, isLeftOwed } = membership;
    membership.owedAtMs = this.#index.nowMs() + this.#options.announceWithinMs;
    const base = { type: "membership", channel, userId, connectionId, stamp } as const;
    return [
      ...(isJoinedOwed ? [{ ...base, hasJoined: true }] : []),
      ...(isLeftOwed ? [{ ...base, hasJoined: false }] : []),
    ];
  }

  #unhold({ channel, userId }: MemberSubject, membership: Membership): void {
    if (membership.place === undefined) return;
    this.#index.unhold(membership.place, memberSubject(channel, userId), membership.connectionId);
    membership.place = undefined;
  }

  #save({ channel, userId }: MemberSubject, memberships: Membership[]): void {
    const room = this.#rooms.get(channel.key) ?? {
      memberships: new Map<string, Membership[]>(),
      members: new Set<string>(),
      sorted: undefined,
    };
    if (memberships.length > 0) room.memberships.set(userId, memberships);
    else room.memberships.delete(userId);
    const isMember = memberships.some(({ isLeftOwed }) => !isLeftOwed);
    if (isMember !== room.members.has(userId)) {
      room.sorted = undefined;
      if (isMember) room.members.add(userId);
      else room.members.delete(userId);
    }
    if (room.memberships.size > 0) this.#rooms.set(channel.key, room);
    else this.#rooms.delete(channel.key);
    const dueAtMs = Math.min(
      ...memberships.map((each) => Math.min(each.graceEndsAtMs ?? Infinity, each.owedAtMs ?? Infinity)),
    );
    const subject = memberSubject(channel, userId);
    if (dueAtMs === Infinity) this.#index.notDue(subject);
    else this.#index.dueAt(subject, dueAtMs);
  }

  #of({ channel, userId }: MemberSubject): Membership[] {
    return this.#rooms.get(channel.key)?.memberships.get(userId) ?? [];
  }

  #count(channel: Channel): number {
    return this.#rooms.get(channel.key)?.members.size ?? 0;
  }

  #toldUpTo(channel: Channel): number {
    return CHANNEL_KINDS.get(channel.kind)?.members === "told" ? this.#options.maxToldMembers : 0;
  }
}

/** Where those begin that come after a text. */
function firstBehind(sorted: readonly string[], after: string): number {
  let [from, to] = [0, sorted.length];
  while (from < to) {
    const middle = Math.floor((from + to) / 2);
    if (byBytes(sorted[middle] ?? "", after) > 0) to = middle;
    else from = middle + 1;
  }
  return from;
}

function byBytes(left: string, right: string): number {
  return Buffer.compare(Buffer.from(left), Buffer.from(right));
}
