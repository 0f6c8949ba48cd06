/**
 * Presence in Redis. What a user is lies in the user's partition, who is in a channel in the channel's; beside each
 * lies what its partition knows of times and places, so that one script changes all of it. The places themselves are
 * one sorted set.
 */
import type { Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { memberKeys, presenceIndexKeys, presencePlacesKey, userPresenceKeys } from "#fanout/redis/keys.js";
import { PARTITIONS } from "#fanout/redis/partitions.js";
import type { RedisArgument } from "#fanout/redis/redis-clients.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, pairsOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import {
  DEFAULT_PRESENCE_STORE,
  DUE_PER_PARTITION,
  HELD_PER_PARTITION,
  MAX_CONNECTIONS,
  MAX_MEMBERS,
  MAX_MEMBERSHIPS,
  type PresenceStoreOptions,
} from "./presence-limits.js";
import type {
  Announcement,
  AvailableUser,
  DueSubject,
  HeldConnection,
  LapsedPlace,
  MemberConnection,
  MembersPage,
  PlacedConnection,
  PresenceStore,
  UserPresence,
} from "./presence-store.js";
import { memberSubject, readHeldName, readSubject, userSubject } from "./presence-subject.js";

const CHANGE_USER = loadScript(import.meta.url, "./lua/change-user.lua");
const CHANGE_MEMBER = loadScript(import.meta.url, "./lua/change-member.lua");
const RENEW_PLACES = loadScript(import.meta.url, "./lua/renew-places.lua");
const READ_LAPSED = loadScript(import.meta.url, "./lua/read-lapsed-places.lua");
const READ_DUE = loadScript(import.meta.url, "./lua/read-due.lua");

/** Places that are looked after at a time. */
const MAX_LAPSED = 100;

export class RedisPresenceStore implements PresenceStore {
  readonly #connection: RedisConnection;
  readonly #options: PresenceStoreOptions;

  constructor(options: { readonly connection: RedisConnection } & Partial<PresenceStoreOptions>) {
    this.#connection = options.connection;
    this.#options = { ...DEFAULT_PRESENCE_STORE, ...options };
  }

  connect({
    app,
    userId,
    connectionId,
    generation,
    place,
  }: PlacedConnection): Promise<readonly Announcement[]> {
    const { placePrefix } = userPresenceKeys(app, userId);
    const args = [connectionId, generation, place, placePrefix, MAX_CONNECTIONS];
    return this.#changeUser({ app, userId }, "connect", args);
  }

  disconnect(connection: PlacedConnection, graceMs: number): Promise<readonly Announcement[]> {
    return this.#disconnect(connection, { graceMs });
  }

  setAvailable({ app, userId, isAvailable, saidAtUs }: AvailableUser): Promise<readonly Announcement[]> {
    return this.#changeUser({ app, userId }, "available", [isAvailable ? "1" : "0", saidAtUs]);
  }

  async presences(app: string, userIds: readonly string[]): Promise<readonly UserPresence[]> {
    return this.#connection.run(
      (client) =>
        Promise.all(
          userIds.map(async (userId) => {
            const { presence } = userPresenceKeys(app, userId);
            const fields = await client.hmget(presence, "state", "seen", "available", "version");
            const [state, seen, available, version] = fields;
            const isOnline = state === "online" || state === "leaving";
            return presenceOf(userId, { isOnline, seen, available, version });
          }),
        ),
      "read-presences",
    );
  }

  async countOnline(app: string): Promise<number> {
    const counts = await this.#connection.run(
      (client) =>
        Promise.all(PARTITIONS.map(({ index }) => client.hget(presenceIndexKeys(index).online, app))),
      "count-online",
    );
    return counts.reduce((sum, count) => sum + Number(count ?? 0), 0);
  }

  join({ channel, sessionId, ...connection }: MemberConnection): Promise<readonly Announcement[]> {
    const { connectionId, generation, place } = connection;
    const { placePrefix } = memberKeys(channel);
    const args = [connectionId, generation, place, placePrefix, sessionId, MAX_MEMBERS, MAX_MEMBERSHIPS];
    return this.#changeMember({ channel, userId: connection.userId }, "join", args);
  }

  leave(member: Omit<MemberConnection, "sessionId">, graceMs: number): Promise<readonly Announcement[]> {
    const { channel, userId, connectionId, generation, place } = member;
    const args = [connectionId, generation, place, memberKeys(channel).placePrefix, graceMs];
    return this.#changeMember({ channel, userId }, "leave", args);
  }

  async members(channel: Channel, after: string, limit: number): Promise<MembersPage> {
    const { members } = memberKeys(channel);
    const [userIds, total] = await this.#connection.run(
      (client) =>
        Promise.all([
          client.zrangebylex(members, after === "" ? "-" : `(${after}`, "+", "LIMIT", 0, limit),
          client.zcard(members),
        ]),
      "read-members",
    );
    return { userIds, total };
  }

  async renew(places: readonly string[]): Promise<void> {
    if (places.length === 0) return;
    const { partition, key } = presencePlacesKey();
    await this.#connection.script(RENEW_PLACES, { partition, keys: [key], args: places });
  }

  async lapsed(leaseMs: number): Promise<readonly LapsedPlace[]> {
    const { partition, key } = presencePlacesKey();
    const reply = await this.#connection.script(READ_LAPSED, {
      partition,
      keys: [key],
      args: [leaseMs, MAX_LAPSED],
    });
    return Array.from(pairsOf(reply), ([place, at]) => ({
      place: place.toString(),
      renewedAtMs: integerOf(at),
    }));
  }

  async held(place: string): Promise<readonly HeldConnection[]> {
    const pages = await this.#connection.run(
      (client) =>
        Promise.all(
          PARTITIONS.map(({ index }) => {
            const { placePrefix } = presenceIndexKeys(index);
            return client.hscan(`${placePrefix}${place}`, 0, "COUNT", HELD_PER_PARTITION);
          }),
        ),
      "read-held",
    );
    return pages.flatMap(([, fields], index) =>
      Array.from({ length: fields.length / 2 }, (_, pair) => ({
        partition: PARTITIONS[index]?.index ?? 0,
        place,
        text: fields[2 * pair] ?? "",
        generation: Number(fields[2 * pair + 1]),
      })),
    );
  }

  async drop(held: HeldConnection, seenAtMs: number): Promise<readonly Announcement[]> {
    const { subject: text, connectionId } = readHeldName(held.text);
    const subject = readSubject(text);
    const { generation, place } = held;
    if (subject.type === "user") {
      const { app, userId } = subject;
      return this.#disconnect({ app, userId, connectionId, generation, place }, { graceMs: 0, seenAtMs });
    }
    const { channel, userId } = subject;
    return this.leave({ channel, app: channel.app, userId, connectionId, generation, place }, 0);
  }

  async forget(place: string): Promise<void> {
    await this.#connection.run((client) => client.zrem(presencePlacesKey().key, place), "forget-place");
  }

  async due(among?: readonly number[]): Promise<readonly DueSubject[]> {
    const asked = among === undefined ? PARTITIONS : PARTITIONS.filter(({ index }) => among.includes(index));
    const replies = await Promise.allSettled(
      asked.map((partition) => {
        const { due } = presenceIndexKeys(partition.index);
        return this.#connection.script(READ_DUE, { partition, keys: [due], args: [DUE_PER_PARTITION] });
      }),
    );
    const failed = replies.find((reply) => reply.status === "rejected");
    if (failed !== undefined && replies.every(({ status }) => status === "rejected")) throw failed.reason;
    return replies.flatMap((reply, index) => {
      if (reply.status === "rejected") return [];
      const texts = listOf(reply.value).map((text) => bytesOf(text).toString());
      return texts.map((text) => ({ partition: asked[index]?.index ?? 0, text }));
    });
  }

  settle({ text }: DueSubject): Promise<readonly Announcement[]> {
    const subject = readSubject(text);
    if (subject.type === "user") return this.#changeUser(subject, "settle", []);
    return this.#changeMember(subject, "settle", []);
  }

  async announced(announcement: Announcement): Promise<void> {
    if (announcement.type === "presence") {
      const { app, presence } = announcement;
      await this.#changeUser({ app, userId: presence.userId }, "announced", [presence.version]);
    } else {
      const { connectionId, stamp, hasJoined } = announcement;
      await this.#changeMember(announcement, "announced", [connectionId, stamp, hasJoined ? "1" : "0"]);
    }
  }

  #disconnect(
    { app, userId, connectionId, generation, place }: PlacedConnection,
    { graceMs, seenAtMs }: { readonly graceMs: number; readonly seenAtMs?: number },
  ): Promise<readonly Announcement[]> {
    const { placePrefix } = userPresenceKeys(app, userId);
    const args = [connectionId, generation, place, placePrefix, graceMs, seenAtMs ?? ""];
    return this.#changeUser({ app, userId }, "disconnect", args);
  }

  async #changeUser(
    { app, userId }: { readonly app: string; readonly userId: string },
    what: string,
    args: readonly RedisArgument[],
  ): Promise<readonly Announcement[]> {
    const { partition, presence, connections, due, online } = userPresenceKeys(app, userId);
    const { lastSeenTtlMs, announceWithinMs } = this.#options;
    const reply = await this.#connection.script(CHANGE_USER, {
      partition,
      keys: [presence, connections, due, online],
      args: [what, userSubject(app, userId), app, lastSeenTtlMs, announceWithinMs, ...args],
    });
    if (reply === null) return [];
    const [isOnline, ...fields] = listOf(reply);
    const [seen, available, version] = fields.map((field) => bytesOf(field).toString());
    const changed = presenceOf(userId, { isOnline: integerOf(isOnline) === 1, seen, available, version });
    return [{ type: "presence", app, presence: changed }];
  }

  async #changeMember(
    { channel, userId }: { readonly channel: Channel; readonly userId: string },
    what: string,
    args: readonly RedisArgument[],
  ): Promise<readonly Announcement[]> {
    const { partition, memberships, members, due } = memberKeys(channel);
    const { lastSeenTtlMs, announceWithinMs, maxToldMembers } = this.#options;
    const toldUpTo = CHANNEL_KINDS.get(channel.kind)?.members === "told" ? maxToldMembers : 0;
    const reply = await this.#connection.script(CHANGE_MEMBER, {
      partition,
      keys: [memberships, members, due],
      args: [
        what,
        memberSubject(channel, userId),
        userId,
        lastSeenTtlMs,
        announceWithinMs,
        toldUpTo,
        ...args,
      ],
    });
    const fields = listOf(reply).map((field) => bytesOf(field).toString());
    return Array.from({ length: fields.length / 3 }, (_, index) => ({
      type: "membership",
      channel,
      userId,
      hasJoined: fields[3 * index] === "1",
      connectionId: fields[3 * index + 1] ?? "",
      stamp: fields[3 * index + 2] ?? "",
    }));
  }
}

interface StoredPresence {
  readonly isOnline: boolean;
  readonly seen: string | null | undefined;
  readonly available: string | null | undefined;
  readonly version: string | null | undefined;
}

function presenceOf(userId: string, { isOnline, seen, available, version }: StoredPresence): UserPresence {
  return {
    userId,
    isOnline,
    lastSeenMs: isOnline ? 0 : Number(seen ?? 0),
    ...(typeof available === "string" && available !== "" && { isAvailable: isOnline && available === "1" }),
    version: Number(version ?? 0),
  };
}
