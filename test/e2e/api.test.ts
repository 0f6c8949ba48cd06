import { randomUUID } from "node:crypto";
import { Client, credentials, Metadata, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { failed, type ApiClient, type Json } from "#test/contract/api-client.js";
import type { AppClient } from "#test/support/app-client.js";
import { startService, type RunningService } from "#test/support/process.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;
let api: ApiClient;
let otherApi: ApiClient;

beforeAll(async () => {
  cluster = await Cluster.start();
  api = cluster.api(0);
  otherApi = cluster.api(1);
});

afterAll(async () => {
  await cluster.stop();
});

const PERMISSION_ENDED = 2;
const KICKED = 4203;

function orderStatus(orderId: string, word: string): Json {
  return { order_status: { order_id: orderId, status: word } };
}

function statusItem(orderId: string, word: string, more: Json = {}): Json {
  return { app: cluster.app, channel: `order:${orderId}`, event: orderStatus(orderId, word), ...more };
}

async function publish(by: ApiClient, item: Json): Promise<Json> {
  const { response } = await by.publish([item]);
  const [result] = response["results"] as readonly Json[];
  if (result === undefined) throw new Error("no result");
  return result;
}

function part(orderId: string, userId: string): Json {
  return { app: cluster.app, channel: `order:${orderId}`, user_id: userId, relation: "RELATION_OWNER" };
}

function statuses(client: AppClient, orderId: string): string[] {
  return client
    .eventsOf(`order:${orderId}`, "orderStatus")
    .map(({ body }) => (body?.$case === "orderStatus" ? body.value.status : "?"));
}

async function untilStatus(client: AppClient, orderId: string, word: string): Promise<void> {
  const what = `the status ${word}`;
  await client.until(() => (statuses(client, orderId).includes(word) ? true : undefined), { what });
}

async function connections(by: ApiClient, userId: string): Promise<readonly Json[]> {
  const { response } = await by.call("ConnectionService", "ListConnections", {
    app: cluster.app,
    user_id: userId,
  });
  return response["connections"] as readonly Json[];
}

/** Followers of an order: enough users to live on both fanouts, on both edges and in both framings. */
async function followers(orderId: string): Promise<AppClient[]> {
  const users = Array.from({ length: 8 }, (_, index) => `user-${index}-${orderId}`);
  await api.call("ParticipationService", "Grant", {
    participations: users.map((user) => part(orderId, user)),
  });
  const clients = await Promise.all(
    users.map((user, index) =>
      cluster.connect(index % 2, user, "customer", { framing: index % 4 < 2 ? "json" : "protobuf" }),
    ),
  );
  await Promise.all(clients.map((client) => client.subscribe(`order:${orderId}`)));
  for (const fanout of cluster.fanouts)
    expect(await cluster.metric(fanout, "realtime_sessions")).toBeGreaterThan(0);
  return clients;
}

async function userIdOf(client: AppClient): Promise<string> {
  return (await client.welcome()).userId;
}

describe("publishing", () => {
  it("reaches every follower of a channel once, in the order of the calls, on whichever fanout they are made", async () => {
    const orderId = randomUUID();
    const clients = await followers(orderId);
    const results: Json[] = [];
    for (let index = 0; index < 10; index += 1) {
      results.push(await publish(index % 2 === 0 ? api : otherApi, statusItem(orderId, `s${index}`)));
    }
    for (const client of clients) {
      await untilStatus(client, orderId, "s9");
      const events = client.eventsOf(`order:${orderId}`);
      expect(statuses(client, orderId)).toEqual(results.map((_, index) => `s${index}`));
      expect(events.map(({ id, position }) => ({ id, position }))).toEqual(
        results.map(({ event_id: id, position }) => ({ id, position })),
      );
    }
  });

  it("has an effect once for a repeat with the same key, also on the other fanout, and answers the same", async () => {
    const orderId = randomUUID();
    const [client] = await followers(orderId);
    if (client === undefined) throw new Error("there are followers");
    const item = statusItem(orderId, "paid", { idempotency_key: `pay-${orderId}` });
    const first = await publish(api, item);
    await publish(otherApi, statusItem(orderId, "cooked"));
    const repeats = await Promise.all([api, otherApi, otherApi].map((by) => publish(by, item)));
    expect(first["outcome"]).toBe("PUBLISH_OUTCOME_PUBLISHED");
    for (const repeat of repeats) {
      expect(repeat).toEqual({ ...first, outcome: "PUBLISH_OUTCOME_REPEATED" });
    }
    await publish(api, statusItem(orderId, "last"));
    await untilStatus(client, orderId, "last");
    expect(statuses(client, orderId)).toEqual(["paid", "cooked", "last"]);
  });

  it("drops a state that is older than the one that is known, and says so", async () => {
    const orderId = randomUUID();
    const [client] = await followers(orderId);
    if (client === undefined) throw new Error("there are followers");
    const outcomes: unknown[] = [];
    for (const version of [5, 4, 5, 6]) {
      const by = version === 4 ? otherApi : api;
      outcomes.push((await publish(by, statusItem(orderId, `v${version}`, { version })))["outcome"]);
    }
    expect(outcomes).toEqual(
      ["PUBLISHED", "STALE", "STALE", "PUBLISHED"].map((outcome) => `PUBLISH_OUTCOME_${outcome}`),
    );
    await untilStatus(client, orderId, "v6");
    expect(statuses(client, orderId)).toEqual(["v5", "v6"]);
  });

  it("to a user reaches all three devices, without a subscription, and nobody else", async () => {
    const userId = `u-${randomUUID()}`;
    const devices = await Promise.all([
      cluster.connect(0, userId, "customer", { framing: "json" }),
      cluster.connect(1, userId, "customer", { framing: "json" }),
      cluster.connect(1, userId, "customer", { framing: "protobuf" }),
    ]);
    const other = await cluster.connect(0, `other-${userId}`, "customer");
    const event = { notification: { notification_id: "n1", type: "hello", title: "Hello", message: "Hi" } };
    const result = await publish(otherApi, { app: cluster.app, user_id: userId, event });
    for (const device of devices) {
      const received = await device.until(() => device.events[0], { what: "the notification" });
      expect(received).toMatchObject({ id: result["event_id"], channel: `user:${userId}` });
      expect(received.body?.value).toMatchObject({ notificationId: "n1", title: "Hello", message: "Hi" });
    }
    await publish(api, { app: cluster.app, user_id: `other-${userId}`, event });
    await other.until(() => other.events[0], { what: "their own notification" });
    expect([...devices, other].map(({ events }) => events.length)).toEqual([1, 1, 1, 1]);
  });
});

describe("participation", () => {
  it("lets a user subscribe once granted, and ends it at once on every fanout and edge", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    const clients = await followers(orderId);
    const [staying, ...leaving] = clients;
    if (staying === undefined) throw new Error("there are followers");
    const outsider = await cluster.connect(0, `outsider-${orderId}`, "customer");
    await expect(outsider.subscribe(channel)).rejects.toThrow(/"code":2/);

    const userIds = await Promise.all(leaving.map(userIdOf));
    const endedAtMs = performance.now();
    await api.call("ParticipationService", "End", {
      participations: userIds.map((user) => part(orderId, user)),
    });
    for (const client of leaving) {
      const body = await client.body("unsubscribed");
      expect(body).toEqual({ channel, reason: PERMISSION_ENDED });
      const index = client.frames.findIndex((frame) => frame.body?.$case === "unsubscribed");
      expect((client.receivedAtMs[index] ?? Infinity) - endedAtMs).toBeLessThan(5000);
    }
    await publish(otherApi, statusItem(orderId, "after"));
    await untilStatus(staying, orderId, "after");
    for (const client of leaving) {
      // An answer comes behind everything that was on its way.
      await expect(client.subscribe(channel)).rejects.toThrow(/"code":2/);
      expect(statuses(client, orderId)).toEqual([]);
      expect(client.closedWith).toBeUndefined();
    }
    expect(staying.frames.some(({ body }) => body?.$case === "unsubscribed")).toBe(false);

    const [first] = leaving;
    if (first === undefined) throw new Error("somebody left");
    const again = [part(orderId, await userIdOf(first))];
    await otherApi.call("ParticipationService", "Grant", { participations: again });
    expect((await first.subscribe(channel)).position?.offset).toBe(1);
    const { response } = await api.call("ParticipationService", "ListParticipants", {
      app: cluster.app,
      channel,
    });
    const listed = response["participations"] as readonly Json[];
    expect(listed.map((each) => each["user_id"]).sort()).toEqual(
      [await userIdOf(staying), await userIdOf(first)].sort(),
    );
  });
});

describe("connections", () => {
  it("of a user are listed over both edges by either fanout, and are gone when they close", async () => {
    const userId = `u-${randomUUID()}`;
    const devices = await Promise.all([0, 1, 1].map((edge) => cluster.connect(edge, userId, "rider")));
    const ids = await Promise.all(devices.map(async (device) => (await device.welcome()).connectionId));
    for (const by of [api, otherApi]) {
      const listed = await connections(by, userId);
      expect(listed.map((each) => each["connection_id"]).sort()).toEqual([...ids].sort());
      for (const each of listed) {
        expect(each).toMatchObject({ role: "rider" });
        expect(Math.abs(Number(each["connected_at_ms"]) - Date.now())).toBeLessThan(60_000);
      }
    }
    await devices[0]?.close();
    await waitFor(async () => (await connections(otherApi, userId)).length === 2, {
      what: "two connections",
    });
    expect(await connections(api, `nobody-${userId}`)).toEqual([]);
  });

  it("are closed by a service: one of them, or all of a user's devices on both edges", async () => {
    const userId = `u-${randomUUID()}`;
    const devices = await Promise.all([0, 1, 1].map((edge) => cluster.connect(edge, userId, "customer")));
    const other = await cluster.connect(1, `other-${userId}`, "customer");
    const [first, ...rest] = devices;
    if (first === undefined) throw new Error("there are devices");
    const who = { app: cluster.app, user_id: userId };
    const { connectionId } = await first.welcome();
    const one = await otherApi.call("ConnectionService", "Disconnect", {
      ...who,
      connection_id: connectionId,
    });
    expect(one.response).toEqual({ connections: 1 });
    expect(await first.closed).toEqual({ code: KICKED, reason: "disconnected by a service" });

    // Who does not follow their own channel any more cannot hide behind that.
    await rest[0]?.request({ $case: "unsubscribe", value: { channel: `user:${userId}` } });
    const all = await api.call("ConnectionService", "Disconnect", { ...who, reason: "banned" });
    expect(all.response).toEqual({ connections: 2 });
    for (const device of rest) expect(await device.closed).toEqual({ code: KICKED, reason: "banned" });
    await other.request({ $case: "ping", value: { clientTimeMs: 1 } });
    expect(other.closedWith).toBeUndefined();
  });
});

describe("the API of a fanout", () => {
  it("tells load balancers that it serves, without a token", async () => {
    expect(await api.health()).toBe("SERVING");
    expect(await otherApi.health("realtime.api.v1.PublishService")).toBe("SERVING");
  });

  it("refuses who has no token or a wrong one, and publishes nothing for them", async () => {
    const orderId = randomUUID();
    const admin = await cluster.connect(0, "boss", "admin");
    await admin.subscribe(`order:${orderId}`);
    const item = statusItem(orderId, "forged");
    expect(await failed(api.publish([item], { token: "wrong" }))).toMatchObject({
      code: status.UNAUTHENTICATED,
    });
    const call = failed(api.send("/realtime.api.v1.PublishService/Publish", Buffer.alloc(0), { token: "x" }));
    expect(await call).toMatchObject({ code: status.UNAUTHENTICATED });
    await publish(api, statusItem(orderId, "real"));
    await untilStatus(admin, orderId, "real");
    expect(statuses(admin, orderId)).toEqual(["real"]);
  });

  it("has reflection in development alone", async () => {
    const env = Object.entries(fanout(1).env).filter(([name]) => !name.endsWith("PORT"));
    const production = await startService("fanout", {
      env: { ...Object.fromEntries(env), SERVER_ID: "fanout-in-production", NODE_ENV: "production" },
    });
    try {
      expect(await reflection(fanout(0))).toBe(status.OK);
      expect(await reflection(production)).toBe(status.UNIMPLEMENTED);
    } finally {
      await production.kill();
    }
  });
});

// A lease of 15 s has to end: too long for every run.
describe.runIf(process.env["LONG_TESTS"] === "1")("connections of an edge that was killed", () => {
  it("are gone from the list within 20 s, and those of the other edge stay", async () => {
    const userId = `u-${randomUUID()}`;
    const devices = await Promise.all([0, 0, 1].map((edge) => cluster.connect(edge, userId, "customer")));
    expect(await connections(api, userId)).toHaveLength(3);
    const left = await devices[2]?.welcome();
    await cluster.edges[0]?.kill();
    const listed = await waitFor(
      async () => {
        const now = await connections(api, userId);
        return now.length === 1 ? now : undefined;
      },
      { what: "the killed edge's connections to be gone", timeoutMs: 20_000, pollMs: 200 },
    );
    expect(listed[0]?.["connection_id"]).toBe(left?.connectionId);
    await cluster.startEdge(0);
  });
});

function fanout(index: number): RunningService {
  const service = cluster.fanouts[index];
  if (service === undefined) throw new Error(`there is no fanout ${index}`);
  return service;
}

/** With which status a fanout answers a client that asks what services there are. */
function reflection(service: RunningService): Promise<status> {
  const client = new Client(`127.0.0.1:${service.port("API_PORT")}`, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${service.env["API_TOKENS"] ?? ""}`);
  return new Promise<status>((resolve) => {
    const pass = (bytes: Buffer): Buffer => bytes;
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const stream = client.makeBidiStreamRequest(path, pass, pass, metadata, { deadline: Date.now() + 5_000 });
    stream.on("data", (bytes: Buffer) => {
      if (bytes.toString("latin1").includes("realtime.api.v1.PublishService")) resolve(status.OK);
      stream.end();
    });
    stream.on("error", (error: Error & { code?: status }) => resolve(error.code ?? status.UNKNOWN));
    // list_services = 7, any text.
    stream.write(Buffer.from([0x3a, 0x01, 0x2a]));
  }).finally(() => client.close());
}
