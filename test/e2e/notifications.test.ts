/** Notifications and bookings through edges, fanouts, Redis and Kafka: who is reached, what is seen, what is over. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { Json } from "#test/contract/api-client.js";
import { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { asJson, EventTopics } from "./event-topics.js";

const WAIT_MS = 10_000;
const CROWD = 1_000;
const SHORT_MS = 1_500;

let cluster: Cluster;
let topics: EventTopics;
beforeAll(async () => {
  cluster = await Cluster.start({ edges: 2, fanouts: 2 });
  topics = await EventTopics.connect(inject("kafkaBrokers"));
});
afterAll(async () => {
  await topics.close();
  await cluster.stop();
});

const until = (what: string, condition: () => boolean) => waitFor(condition, { what, timeoutMs: WAIT_MS });

async function notify(item: Json, fanout = 0): Promise<string> {
  const items = [{ app: cluster.app, title: "Hello", ...item }];
  const { response } = await cluster.api(fanout).call("NotificationService", "Notify", { items });
  const [result] = response["results"] as readonly Json[];
  expect(result).toMatchObject({ error: null });
  return String(result?.["notification_id"]);
}

/** The ids of the notifications that an app was given. */
function given(client: AppClient): string[] {
  return client.events.flatMap(({ body }) =>
    body?.$case === "notification" ? [body.value.notificationId] : [],
  );
}

async function errorOf(answer: ReturnType<AppClient["request"]>): Promise<ErrorCode | undefined> {
  const body = await answer;
  return body.$case === "error" ? body.value.code : undefined;
}

async function unseen(client: AppClient): Promise<Record<string, number>> {
  const body = await client.request({ $case: "unseen", value: { channels: [] } });
  if (body.$case !== "unseenPage") throw new Error(`no page: ${JSON.stringify(body)}`);
  return Object.fromEntries(body.value.channels.map((each) => [each.seen?.channel ?? "", each.unseen]));
}

/** Comes back with the session of a client that is gone; the socket is closed when the test's cluster is. */
async function comeBack(edge: number, user: { userId: string; role: string }, resumeToken: string) {
  const client = await AppClient.open({
    url: cluster.socketUrl(edge),
    token: await cluster.token(user.userId, user.role),
    resume: true,
  });
  client.send({ $case: "resume", value: { resumeToken, positions: {} } });
  expect(await client.welcome()).toMatchObject({ resumed: true });
  return client;
}

/** Durable publishes that were sent to Redis, by all fanouts. */
async function publishes(): Promise<number> {
  const pages = await Promise.all(
    cluster.fanouts.map(async (fanout) => (await fetch(fanout.url("METRICS_PORT", "/metrics"))).text()),
  );
  return pages
    .flatMap((page) => page.split("\n"))
    .filter((line) => line.startsWith('realtime_redis_hits_total{operation="publish-durable"'))
    .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
}

describe("a notification to a user", () => {
  it("is on every device, and one that was seen on one device is known on the other", async () => {
    const userId = `ann-${randomUUID()}`;
    const phone = await cluster.connect(0, userId, "customer");
    const tablet = await cluster.connect(1, userId, "customer", { framing: "protobuf" });
    const first = await notify({ user_id: userId });
    const second = await notify({ user_id: userId }, 1);
    await until("both on both devices", () =>
      [phone, tablet].every((device) => given(device).join() === `${first},${second}`),
    );
    expect(await unseen(tablet)).toMatchObject({ [`user:${userId}`]: 2 });
    const value = { channel: "", notificationId: second, upTo: true };
    expect(await phone.request({ $case: "notificationSeen", value })).toMatchObject({ $case: "reply" });
    await until("what was seen, on the other device", () =>
      tablet.events.some(({ body }) => body?.$case === "notificationsSeen" && body.value.upTo?.offset === 2),
    );
    const later = await cluster.connect(1, userId, "customer");
    expect((await later.body("subscribed")).latest).toMatchObject([
      { body: { $case: "notificationsSeen", value: { channel: `user:${userId}`, upTo: { offset: 2 } } } },
    ]);
    expect(await unseen(later)).toMatchObject({ [`user:${userId}`]: 0 });
  });

  it("waits for who is away, unless its time is over by then", async () => {
    const user = { userId: `ben-${randomUUID()}`, role: "customer" };
    const phone = await cluster.connect(0, user.userId, user.role);
    const { resumeToken } = await phone.welcome();
    const before = await notify({ user_id: user.userId });
    await until("the one before", () => given(phone).includes(before));
    phone.websocket.terminate();
    const short = await notify({ user_id: user.userId, time_to_live_ms: SHORT_MS });
    const sentAtMs = performance.now();
    const long = await notify({ user_id: user.userId, time_to_live_ms: 600_000 });
    await waitFor(() => performance.now() - sentAtMs > SHORT_MS, { what: "its time", timeoutMs: WAIT_MS });
    const back = await comeBack(1, user, resumeToken);
    await until("the one that still counts", () => given(back).includes(long));
    expect(given(back)).not.toContain(short);
    const value = { channel: `user:${user.userId}`, from: undefined, backward: false, limit: 0 };
    const page = await back.request({ $case: "history", value });
    expect(JSON.stringify(page)).not.toContain(short);
    expect(JSON.stringify(page)).toContain(long);
    await back.close();
  });

  it("comes from Kafka too, for a user, a role and everyone", async () => {
    const userId = `carl-${randomUUID()}`;
    const role = `role-${randomUUID()}`;
    const client = await cluster.connect(0, userId, role);
    const targets = [{ userId }, { role }, { everyone: true }];
    const events = targets.map((target) => ({
      ...{ eventId: randomUUID(), type: "notification.created", app: cluster.app },
      data: { ...target, title: "From Kafka", ttlMs: 600_000 },
    }));
    await topics.write(cluster.topics.notifications, 0, ...events.map(asJson));
    await until("all three", () => events.every(({ eventId }) => given(client).includes(eventId)));
  });
});

describe("a notification to a role or to everyone", () => {
  it("reaches exactly those it is meant for, over two edges and two fanouts", async () => {
    const [role, other] = [`role-${randomUUID()}`, `role-${randomUUID()}`];
    const meant = await Promise.all(
      Array.from({ length: 8 }, (_, index) => cluster.connect(index % 2, randomUUID(), role)),
    );
    const others = await Promise.all(
      Array.from({ length: 8 }, (_, index) => cluster.connect(index % 2, randomUUID(), other)),
    );
    const toRole = await notify({ role });
    const toAll = await notify({ everyone: true }, 1);
    await until("what is for everyone", () =>
      [...meant, ...others].every((client) => given(client).includes(toAll)),
    );
    await until("what is for the role", () => meant.every((client) => given(client).includes(toRole)));
    for (const client of others) expect(given(client)).not.toContain(toRole);
    for (const client of meant) expect(new Set(given(client)).size).toBe(given(client).length);

    const [stranger] = others;
    if (stranger === undefined) throw new Error("no stranger");
    const denied = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
    const channel = `role:${role}`;
    const subscribe = { $case: "subscribe", value: { channel, after: undefined } } as const;
    const history = {
      $case: "history",
      value: { channel, from: undefined, backward: false, limit: 0 },
    } as const;
    for (const body of [subscribe, history]) expect(await errorOf(stranger.request(body))).toBe(denied);
    const [member] = meant;
    const custom = { $case: "custom", value: { channel, type: "spam", data: undefined } } as const;
    expect(member && (await errorOf(member.request(custom)))).toBe(denied);
  });

  it(`costs one publish for ${CROWD} sessions`, { timeout: 60_000 }, async () => {
    const role = `role-${randomUUID()}`;
    const crowd: AppClient[] = [];
    while (crowd.length < CROWD) {
      const next = Array.from({ length: 50 }, (_, index) => cluster.connect(index % 2, randomUUID(), role));
      crowd.push(...(await Promise.all(next)));
    }
    const before = await publishes();
    const id = await notify({ role });
    await waitFor(() => crowd.every((client) => given(client).includes(id)), {
      what: `the notification at all ${CROWD}`,
      timeoutMs: 30_000,
    });
    expect((await publishes()) - before).toBe(1);
    await Promise.all(crowd.map((client) => client.close()));
  });
});

describe("a booking's change", () => {
  it("reaches its user on every device, and who follows the booking, as one event", async () => {
    const [userId, bookingId] = [`dora-${randomUUID()}`, randomUUID()];
    const phone = await cluster.connect(0, userId, "customer");
    const tablet = await cluster.connect(1, userId, "customer");
    const admin = await cluster.connect(1, randomUUID(), "admin");
    await admin.subscribe(`booking:${bookingId}`);
    const events = ["confirmed", "rescheduled"].map((word) => ({
      ...{ eventId: randomUUID(), type: `booking.${word}`, app: cluster.app },
      data: { bookingId, userId, room: "12" },
    }));
    await topics.write(cluster.topics.orders, 0, ...events.map(asJson));
    const statuses = (client: AppClient, channel: string) =>
      client.eventsOf(channel, "bookingUpdate").map(({ id }) => id);
    const wanted = events.map(({ eventId }) => eventId).join();
    await until("both at both devices and at the admin's", () => {
      const own = [phone, tablet].every((client) => statuses(client, `user:${userId}`).join() === wanted);
      return own && statuses(admin, `booking:${bookingId}`).join() === wanted;
    });
    // The user takes part by it; nobody else does.
    await phone.subscribe(`booking:${bookingId}`);
    const stranger = await cluster.connect(0, randomUUID(), "customer");
    const subscribe = { channel: `booking:${bookingId}`, after: undefined };
    expect(await errorOf(stranger.request({ $case: "subscribe", value: subscribe }))).toBe(
      ErrorCode.ERROR_CODE_PERMISSION_DENIED,
    );
  });
});
