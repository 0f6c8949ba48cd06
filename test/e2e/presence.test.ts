import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { PresenceUpdate } from "#proto/gen/realtime/client/v1/event.js";
import type { Json } from "#test/contract/api-client.js";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

const GRACE_MS = 2_000;
/** A lease of 15 s, and what it takes to be sure that nobody renews it any more. */
const GHOSTS_GONE_MS = 60_000;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ env: { PRESENCE_GRACE: `${GRACE_MS}ms` } });
});

afterAll(async () => {
  await cluster.stop();
});

/** A group of its own for the test, with these members. */
async function groupOf(...userIds: readonly string[]): Promise<string> {
  const channel = `group:${randomUUID()}`;
  const participations = userIds.map((userId): Json => ({
    app: cluster.app,
    channel,
    user_id: userId,
    relation: "RELATION_MEMBER",
  }));
  await cluster.api().call("ParticipationService", "Grant", { participations });
  return channel;
}

/** What a client heard of a user's presence, behind what it was shown at first. */
function heard(client: AppClient, userId: string): readonly PresenceUpdate[] {
  return client
    .eventsOf(`presence:${userId}`, "presence")
    .flatMap(({ body }) => (body?.$case === "presence" ? [body.value] : []));
}

/** "u1 joined", …; what comes again, with the id that it had, is told once. */
function told(client: AppClient, channel: string): readonly string[] {
  const words = new Map<string, string>();
  for (const { id, body } of client.eventsOf(channel, "membership")) {
    if (body?.$case !== "membership") continue;
    words.set(id, `${body.value.userId} ${body.value.joined ? "joined" : "left"}`);
  }
  return [...words.values()];
}

/** Begins to watch a user; answers what is shown at first. */
async function watch(client: AppClient, userId: string): Promise<PresenceUpdate | undefined> {
  const { latest } = await client.subscribe(`presence:${userId}`);
  const body = latest[0]?.body;
  return body?.$case === "presence" ? body.value : undefined;
}

async function untilOnline(
  client: AppClient,
  userId: string,
  online: boolean,
  timeoutMs = 10_000,
): Promise<void> {
  await client.until(() => (heard(client, userId).at(-1)?.online === online ? true : undefined), {
    what: `${userId} ${online ? "online" : "offline"}`,
    timeoutMs,
  });
}

async function untilTold(
  client: AppClient,
  channel: string,
  word: string,
  timeoutMs = 10_000,
): Promise<void> {
  await client.until(() => (told(client, channel).includes(word) ? true : undefined), {
    what: word,
    timeoutMs,
  });
}

async function membersOf(channel: string): Promise<readonly string[]> {
  const { response } = await cluster
    .api(1)
    .call("PresenceService", "ListMembers", { app: cluster.app, channel });
  return (response["users"] as readonly { user_id: string }[]).map(({ user_id }) => user_id);
}

describe("presence over edges and fanouts", () => {
  it("of a user with two devices is one, and offline with when they were last seen", async () => {
    await groupOf("ann", "ann-watcher");
    const watcher = await cluster.connect(0, "ann-watcher", "customer");
    expect(await watch(watcher, "ann")).toMatchObject({ online: false, lastSeenMs: 0 });
    const phone = await cluster.connect(0, "ann", "customer");
    await untilOnline(watcher, "ann", true);
    const laptop = await cluster.connect(1, "ann", "customer");
    await phone.close();
    const { response } = await cluster.api().call("PresenceService", "GetPresence", {
      app: cluster.app,
      user_ids: ["ann", "nobody"],
    });
    expect(response["users"]).toMatchObject([{ online: true }, { online: false }]);
    const goneMs = Date.now();
    await laptop.close();
    await untilOnline(watcher, "ann", false);
    expect(heard(watcher, "ann").map(({ online }) => online)).toEqual([true, false]);
    const lastSeenMs = heard(watcher, "ann").at(-1)?.lastSeenMs ?? 0;
    expect(Math.abs(lastSeenMs - goneMs)).toBeLessThan(1_500);
    const later = await cluster.connect(1, "ann-watcher", "customer");
    expect(await watch(later, "ann")).toMatchObject({ online: false, lastSeenMs });
  });

  it("is not to be seen by strangers, neither of users nor of channels", async () => {
    const channel = await groupOf("ben");
    const stranger = await cluster.connect(0, "stranger", "customer");
    await expect(stranger.subscribe("presence:ben")).rejects.toThrow(/"code":2/);
    for (const subject of [
      { $case: "userId" as const, value: "ben" },
      { $case: "channel" as const, value: channel },
    ]) {
      const answer = await stranger.request({ $case: "presence", value: { subject, pageToken: "" } });
      expect(answer).toMatchObject({ $case: "error", value: { code: 2 } });
    }
    const boss = await cluster.connect(1, "boss", "admin");
    expect(await watch(boss, "ben")).toMatchObject({ userId: "ben" });
  });

  it("of workers says whether they take offers", async () => {
    await groupOf("driver", "dispatcher");
    const dispatcher = await cluster.connect(1, "dispatcher", "customer");
    await watch(dispatcher, "driver");
    const driver = await cluster.connect(0, "driver", "driver");
    await driver.request({ $case: "availability", value: { available: true } });
    await dispatcher.until(
      () => (heard(dispatcher, "driver").at(-1)?.available === true ? true : undefined),
      {
        what: "an available driver",
      },
    );
  });
});

describe("the members of a channel", () => {
  it("hear nothing of one who comes back within the grace, and that they left after it", async () => {
    const channel = await groupOf("cat", "cat-friend");
    const friend = await cluster.connect(1, "cat-friend", "customer");
    await watch(friend, "cat");
    await friend.subscribe(channel);
    const first = await cluster.connect(0, "cat", "customer");
    await first.subscribe(channel);
    await untilTold(friend, channel, "cat joined");

    first.websocket.terminate();
    const second = await cluster.connect(1, "cat", "customer");
    await second.subscribe(channel);
    await waitFor(async () => (await membersOf(channel)).length === 2, { what: "two members" });

    const goneMs = performance.now();
    second.websocket.terminate();
    await untilTold(friend, channel, "cat left");
    expect(performance.now() - goneMs).toBeGreaterThan(GRACE_MS - 200);
    await untilOnline(friend, "cat", false);
    // The first disconnect was longer ago than the second: what it would have told had come before.
    expect(told(friend, channel).filter((word) => word.startsWith("cat "))).toEqual([
      "cat joined",
      "cat left",
    ]);
    expect(heard(friend, "cat").map(({ online }) => online)).toEqual([true, false]);
    expect(await membersOf(channel)).toEqual(["cat-friend"]);
  });
});

describe("with a fanout killed, and then an edge", () => {
  it(
    "nobody flaps who is still there, and who is not is gone within 60 s",
    async () => {
      const users = Array.from({ length: 12 }, (_, index) => `eve${index}`);
      const channel = await groupOf("eve-watcher", "ghost", ...users);
      const watcher = await cluster.connect(0, "eve-watcher", "customer");
      for (const userId of [...users, "ghost"]) await watch(watcher, userId);
      await watcher.subscribe(channel);
      const clients = await Promise.all(users.map((userId) => cluster.connect(0, userId, "customer")));
      const ghost = await cluster.connect(1, "ghost", "customer");
      for (const client of [...clients, ghost]) await client.subscribe(channel);
      for (const userId of [...users, "ghost"]) await untilTold(watcher, channel, `${userId} joined`);

      await cluster.fanouts[0]?.kill();
      for (const client of clients) await client.request({ $case: "ping", value: { clientTimeMs: 1 } });
      await cluster.startFanout(0);
      await clients[0]?.close();
      await untilOnline(watcher, "eve0", false, 30_000);
      await untilTold(watcher, channel, "eve0 left", 30_000);

      // What the fanout's end would have ended by itself, without a home, ends before what the edge's does.
      await cluster.edges[1]?.kill();
      await untilOnline(watcher, "ghost", false, GHOSTS_GONE_MS);
      await untilTold(watcher, channel, "ghost left", GHOSTS_GONE_MS);
      for (const userId of users.slice(1)) {
        expect(heard(watcher, userId).map(({ online }) => online)).not.toContain(false);
      }
      const words = told(watcher, channel);
      expect(words.filter((word) => word.endsWith(" left"))).toEqual(["eve0 left", "ghost left"]);
      expect(words.filter((word) => word.endsWith(" joined"))).toHaveLength(users.length + 2);
      expect(await membersOf(channel)).toEqual(["eve-watcher", ...users.slice(1)].sort());
    },
    2 * GHOSTS_GONE_MS,
  );
});
