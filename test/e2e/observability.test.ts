/**
 * The gateway as operators see it: health, readiness, metrics and logs of an edge and a fanout, on a Redis
 * of their own that goes away and comes back.
 */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { failed } from "#test/contract/api-client.js";
import { AppClient, type AppClientOptions } from "#test/support/app-client.js";
import type { RunningService } from "#test/support/process.js";
import { startRedis, type RunningRedis } from "#test/support/redis.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;
let redis: RunningRedis;
let edge: RunningService;
let fanout: RunningService;

beforeAll(async () => {
  redis = await startRedis();
  cluster = await Cluster.start({ edges: 1, fanouts: 1, redisUrl: redis.url, env: { LOG_LEVEL: "trace" } });
  const [firstEdge] = cluster.edges;
  const [firstFanout] = cluster.fanouts;
  if (firstEdge === undefined || firstFanout === undefined) throw new Error("the cluster is not whole");
  [edge, fanout] = [firstEdge, firstFanout];
});

afterAll(async () => {
  await cluster.stop();
  await redis.kill();
});

const apps: AppClient[] = [];

/** Every test begins without sockets. */
afterEach(async () => {
  for (const app of apps.splice(0)) app.websocket.terminate();
  for (const service of [edge, fanout]) {
    await waitFor(async () => (await health(service)).body["connections"] === 0, {
      what: `no connections at ${service.name}`,
    });
  }
});

async function connect(...[userId, role, options]: [string, string, Partial<AppClientOptions>?]) {
  const app = await cluster.connect(0, userId, role, options);
  apps.push(app);
  return app;
}

type Json = Readonly<Record<string, unknown>>;

async function read(url: string): Promise<{ status: number; body: Json }> {
  const response = await fetch(url);
  return { status: response.status, body: (await response.json()) as Json };
}

const health = (service: RunningService) => read(service.url(portOf(service), "/health"));
const ready = (service: RunningService) => read(service.url(portOf(service), "/ready"));
const portOf = (service: RunningService) => (service === edge ? "PORT" : "HTTP_PORT");

/** Prometheus metrics: series, as written, to values. */
async function scrape(service: RunningService): Promise<ReadonlyMap<string, number>> {
  const response = await fetch(service.url("METRICS_PORT", "/metrics"));
  expect(response.headers.get("content-type")).toContain("text/plain");
  const rows = (await response.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
  return new Map(
    rows.map((line) => {
      const space = line.lastIndexOf(" ");
      return [line.slice(0, space), Number(line.slice(space + 1))];
    }),
  );
}

/** Counts by how much series have risen, once they have all risen enough. */
async function risen(
  service: RunningService,
  before: ReadonlyMap<string, number>,
  expected: Readonly<Record<string, number>>,
): Promise<Record<string, number>> {
  const difference = async (): Promise<Record<string, number>> => {
    const after = await scrape(service);
    return Object.fromEntries(
      Object.keys(expected).map((series) => [series, (after.get(series) ?? 0) - (before.get(series) ?? 0)]),
    );
  };
  await waitFor(
    async () =>
      Object.entries(await difference()).every(([series, value]) => value >= (expected[series] ?? 0)),
    { what: `the metrics ${Object.keys(expected).join(", ")} to rise` },
  ).catch(() => undefined);
  return difference();
}

describe("health and readiness", () => {
  it("say of edge and fanout who they are, how many are here, and how Redis and Kafka do", async () => {
    await connect("someone", "customer");
    for (const [service, name] of [
      [edge, "realtime-edge"],
      [fanout, "realtime-fanout"],
    ] as const) {
      const { status, body } = await waitFor(
        async () => {
          const answer = await health(service);
          const eventBus = answer.body["eventBus"] as { isConnected: boolean };
          return answer.body["onlineUsers"] !== 0 && eventBus.isConnected && answer;
        },
        { what: "the user to be counted, and the event bus to be connected" },
      );
      expect(status).toBe(200);
      expect(body).toEqual({
        status: "ok",
        service: name,
        version: expect.stringMatching(/^\d+\.\d+\.\d+/) as string,
        connections: 1,
        onlineUsers: 1,
        redis: { isConnected: true, reconnectAttempts: 0, implementation: "redis" },
        eventBus: { isConnected: true, reconnectAttempts: 0, implementation: "kafka" },
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
      });
      expect(await ready(service)).toMatchObject({ status: 200, body: { ready: true, reasons: [] } });
    }
  });

  it("turn red with the reason when Redis goes away, and green when it comes back; no socket closes", async () => {
    const app = await connect("patient", "customer");
    await redis.kill();
    const reasons = async (service: RunningService) => (await ready(service)).body["reasons"];
    for (const [service, reason] of [
      [fanout, "redis is away"],
      [edge, "the store is away"],
    ] as const) {
      await waitFor(async () => JSON.stringify(await reasons(service)) === JSON.stringify([reason]), {
        what: `"${reason}" at ${service.name}`,
      });
      expect((await ready(service)).status).toBe(503);
      expect(await health(service)).toMatchObject({
        status: 200,
        body: { status: "degraded", redis: { isConnected: false, implementation: "redis" } },
      });
    }
    await waitFor(
      async () => {
        const { redis: seen } = (await health(edge)).body as { redis: { reconnectAttempts: number } };
        return seen.reconnectAttempts > 0;
      },
      { what: "the attempts to reconnect at the edge" },
    );
    await expect(cluster.connect(0, "newcomer", "customer")).rejects.toThrow("503");
    redis = await startRedis({ port: redis.port, folder: redis.folder });
    for (const service of [fanout, edge]) {
      await waitFor(async () => (await ready(service)).status === 200, {
        what: `${service.name} to be ready again`,
        timeoutMs: 15_000,
      });
      expect(await health(service)).toMatchObject({
        status: 200,
        body: { status: "ok", redis: { isConnected: true, reconnectAttempts: 0 } },
      });
    }
    expect((await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).$case).toBe("pong");
    expect(app.closedWith).toBeUndefined();
  });
});

describe("metrics", () => {
  const LOCATIONS = 30;

  it("count what passed, by namespace and event, without a user or a channel in any label", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    await cluster.grant(orderId, { "counted-customer": "OWNER", "counted-porter": "ASSIGNED" });
    const [edgeBefore, fanoutBefore] = await Promise.all([scrape(edge), scrape(fanout)]);
    const customer = await connect("counted-customer", "customer", { framing: "json" });
    const porter = await connect("counted-porter", "porter", { framing: "protobuf" });
    await customer.subscribe(channel);
    await expect(porter.subscribe("user:counted-customer")).rejects.toThrow();
    for (let index = 0; index < LOCATIONS; index += 1) {
      const value = { latitude: index, longitude: 2, timestampMs: 0, orderId: "" };
      await porter.request({ $case: "locationUpdate", value });
    }
    await customer.until(() => customer.eventsOf(channel, "location").at(LOCATIONS - 1), {
      what: "every location",
    });
    const event = { order_status: { order_id: orderId, status: "picked_up" } };
    await cluster.api().publish([{ app: cluster.app, channel, event }]);
    await customer.until(() => customer.eventsOf(channel, "orderStatus").at(0), { what: "the status" });
    customer.sendRaw("this is no JSON");
    await customer.until(() => customer.frames.find(({ body }) => body?.$case === "error"), {
      what: "the error",
    });

    const sent = (type: string) => `realtime_messages_sent_total{namespace="native",event="${type}"}`;
    const received = (type: string) => `realtime_messages_received_total{namespace="native",event="${type}"}`;
    const onFanout = {
      [received("locationUpdate")]: LOCATIONS,
      [received("subscribe")]: 2,
      [received("invalid")]: 1,
      [sent("location")]: LOCATIONS,
      [sent("orderStatus")]: 1,
      realtime_location_updates_total: LOCATIONS,
      realtime_locations_sampled_total: LOCATIONS / 10,
      'realtime_request_errors_total{code="permission_denied"}': 1,
      'realtime_request_errors_total{code="invalid_argument"}': 1,
      realtime_sessions_opened_total: 2,
      // Both users came online, which is a latest value too.
      'realtime_redis_hits_total{operation="update-latest"}': LOCATIONS + 2,
      'realtime_redis_hits_total{operation="publish-durable"}': 1,
      'realtime_redis_hits_total{operation="admit-session"}': 2,
      'realtime_api_calls_total{method="Publish",code="OK"}': 1,
    };
    expect(await risen(fanout, fanoutBefore, onFanout)).toEqual(onFanout);

    const onEdge = {
      'realtime_active_connections{namespace="native"}': 2,
      realtime_connections_opened_total: 2,
      realtime_fanout_latency_seconds_count: LOCATIONS,
      realtime_edge_frames_received_total: LOCATIONS + 3,
    };
    expect(await risen(edge, edgeBefore, onEdge)).toEqual(onEdge);
    const latency = (await scrape(edge)).get("realtime_fanout_latency_seconds_sum") ?? 0;
    expect(latency - (edgeBefore.get("realtime_fanout_latency_seconds_sum") ?? 0)).toBeLessThan(LOCATIONS);

    for (const service of [edge, fanout]) {
      const series = [...(await scrape(service)).keys()].join("\n");
      for (const one of [orderId, "counted-customer", "counted-porter"]) {
        expect(series).not.toContain(one);
      }
    }
    await Promise.all([customer.close(), porter.close()]);
    const closed = { 'realtime_connections_closed_total{reason="client"}': 2 };
    expect(await risen(edge, edgeBefore, closed)).toEqual(closed);
  });

  it("count refused tokens by reason", async () => {
    const before = await scrape(edge);
    const good = await cluster.token("u1", "customer");
    for (const token of [await cluster.token("u1", "customer", -60), `${good.slice(0, -4)}AAAA`, "x.y.z"]) {
      const app = await AppClient.open({ url: cluster.socketUrl(0), token });
      await app.closed;
    }
    const expected = {
      'realtime_authentication_errors_total{reason="expired"}': 1,
      'realtime_authentication_errors_total{reason="bad_signature"}': 1,
      'realtime_authentication_errors_total{reason="malformed"}': 1,
    };
    expect(await risen(edge, before, expected)).toEqual(expected);
  });

  it("have every name of the vocabulary, and the process's own", async () => {
    const names = async (service: RunningService) => {
      const text = await (await fetch(service.url("METRICS_PORT", "/metrics"))).text();
      return [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    };
    expect(await names(edge)).toEqual(
      expect.arrayContaining([
        "realtime_active_connections",
        "realtime_fanout_latency_seconds",
        "realtime_authentication_errors_total",
        "realtime_connections_opened_total",
        "realtime_connections_closed_total",
        "realtime_connection_duration_seconds",
        "process_cpu_seconds_total",
        "nodejs_eventloop_lag_seconds",
      ]),
    );
    expect(await names(fanout)).toEqual(
      expect.arrayContaining([
        "realtime_messages_received_total",
        "realtime_messages_sent_total",
        "realtime_location_updates_total",
        "realtime_redis_hits_total",
        "realtime_store_failures_total",
        "realtime_consumer_lag",
        "process_resident_memory_bytes",
      ]),
    );
  });

  it("are at the edge's port as JSON, too", async () => {
    await connect("looked-at", "customer");
    const { status, body } = await read(edge.url("PORT", "/metrics"));
    expect(status).toBe(200);
    expect(body).toEqual({
      connectedSockets: 1,
      connections: { total: expect.any(Number) as number, online: 1 },
      totalRooms: expect.any(Number) as number,
      uptime: expect.any(Number) as number,
      memory: expect.objectContaining({ rss: expect.any(Number) as number }) as unknown,
      timestamp: expect.any(String) as string,
    });
  });
});

describe("logs", () => {
  it("are lines of JSON that name the process, with the correlation id where there is one", async () => {
    const correlationId = `correlation-${randomUUID()}`;
    const item = { app: cluster.app, channel: "no such channel", event: {} };
    await cluster.api().publish([item], { headers: { "x-correlation-id": correlationId } });
    await failed(
      cluster
        .api()
        .call(
          "ParticipationService",
          "Grant",
          { participations: [] },
          { headers: { "x-correlation-id": correlationId } },
        ),
    );
    await waitFor(() => fanout.logs().filter((line) => line["correlationId"] === correlationId).length >= 2, {
      what: "lines with the correlation id",
    });
    for (const [service, name] of [
      [edge, "realtime-edge"],
      [fanout, "realtime-fanout"],
    ] as const) {
      expect(service.logs().length).toBeGreaterThan(0);
      for (const line of service.logs()) {
        expect(line).toMatchObject({
          service: name,
          serverId: service.env["SERVER_ID"],
          version: expect.any(String) as string,
          level: expect.stringMatching(/^(trace|debug|info|warn|error|fatal)$/) as string,
          time: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:.]+Z$/) as string,
          message: expect.any(String) as string,
        });
      }
    }
  });

  it("never hold a token, a body or a session id, at any level", async () => {
    const orderId = randomUUID();
    const secretBody = `nobody-logs-this-${randomUUID()}`;
    await cluster.grant(orderId, { discreet: "OWNER" });
    const tokens = [
      await cluster.token("discreet", "customer"),
      await cluster.token("late", "customer", -60),
    ];
    const discreet = await Promise.all(
      [
        { url: cluster.socketUrl(0), token: tokens[0] ?? "" },
        { url: cluster.socketUrl(0), query: { token: tokens[0] ?? "" } },
      ].map((options) => AppClient.connect(options)),
    );
    apps.push(...discreet);
    const refused = await AppClient.open({ url: cluster.socketUrl(0), query: { token: tokens[1] ?? "" } });
    await refused.closed;
    await fetch(edge.url("PORT", `/nothing?token=${tokens[0] ?? ""}`), {
      headers: { authorization: `Bearer ${tokens[0] ?? ""}` },
    });
    const sessionIds = await Promise.all(discreet.map(async (app) => (await app.welcome()).sessionId));
    for (const app of discreet) {
      await app.subscribe(`order:${orderId}`);
      app.send({ $case: "custom", value: { type: secretBody, channel: "", data: undefined } });
      app.sendRaw(`{"id": 7, "${secretBody}"`);
      await app.until(() => app.frames.filter(({ body }) => body?.$case === "error").at(1), {
        what: "both errors",
      });
    }
    const channel = `order:${orderId}`;
    const event = { order_status: { order_id: orderId, status: secretBody } };
    await cluster.api().publish([{ app: cluster.app, channel, event, idempotency_key: randomUUID() }]);
    for (const app of discreet) {
      await app.until(() => app.eventsOf(channel).at(0), { what: "the status" });
    }
    await failed(cluster.api().publish([], { token: "a-wrong-service-token-0123456789" }));
    await waitFor(() => fanout.logs().some((line) => line["code"] === "UNAUTHENTICATED"), {
      what: "the line about the wrong service token",
    });
    const written = [...edge.process.output, ...fanout.process.output].join("\n");
    expect(sessionIds.filter((id) => id === "")).toEqual([]);
    const secrets = [
      ...tokens,
      ...tokens.map((token) => token.split(".")[2] ?? token),
      secretBody,
      ...sessionIds,
      cluster.jwtSecret,
      "a-wrong-service-token",
      "the-link-token-of-the-tests",
      "the-service-token-of-the-tests",
    ];
    expect(secrets.filter((secret) => written.includes(secret))).toEqual([]);
  });
});
