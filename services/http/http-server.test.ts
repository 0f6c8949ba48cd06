/** The HTTP endpoints over a real port: health, readiness, metrics, and what other requests get. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { edgeMetricsRoute } from "./edge-metrics-route.js";
import { healthRoutes, metricsRoute, type HealthReport, type ReadyReport } from "./health-routes.js";
import { startHttpServer, type RunningHttpServer } from "./http-server.js";
import { socketsOnlyRoute } from "./sockets-only-route.js";
import { text, type HttpRoute } from "./route.js";

const UP = { isConnected: true, reconnectAttempts: 0, implementation: "redis" };
const DOWN = { isConnected: false, reconnectAttempts: 3, implementation: "kafka" };
const NOW_MS = Date.UTC(2025, 0, 2, 3, 4, 5);

let health: HealthReport;
let ready: ReadyReport;
let logged: object[];
let server: RunningHttpServer;
let url: string;

beforeEach(async () => {
  health = { connections: 3, onlineUsers: 2, redis: UP, eventBus: { ...UP, implementation: "kafka" } };
  ready = { reasons: [] };
  logged = [];
  const routes: HttpRoute[] = [
    ...healthRoutes({
      service: "realtime-edge",
      version: "1.2.3",
      health: () => health,
      ready: () => ready,
      now: () => NOW_MS,
    }),
    metricsRoute({ contentType: "text/plain; version=0.0.4", text: async () => "up 1\n" }),
    {
      path: "/broken",
      answer: () => {
        throw new Error("a secret reason");
      },
    },
    {
      path: "/echo",
      answer: ({ query, authorization }) => text(200, `${query.get("a") ?? ""} ${authorization ?? ""}`),
    },
  ];
  server = await startHttpServer({
    portVariable: "HTTP_PORT",
    host: "127.0.0.1",
    port: 0,
    routes,
    logger: { error: (fields) => logged.push(fields) },
  });
  url = `http://127.0.0.1:${server.port}`;
});
afterEach(() => server.close(0));

describe("/health", () => {
  test("tells who it is, its connections and its dependencies", async () => {
    const response = await fetch(`${url}/health`);
    expect(response.status).toBe(200);
    expect(response.headers.get("cache-control")).toBe("no-store");
    expect(await response.json()).toEqual({
      status: "ok",
      service: "realtime-edge",
      version: "1.2.3",
      connections: 3,
      onlineUsers: 2,
      redis: UP,
      eventBus: { isConnected: true, reconnectAttempts: 0, implementation: "kafka" },
      timestamp: "2025-01-02T03:04:05.000Z",
    });
  });

  test("is degraded but 200 while a dependency is away, since a restart would not bring it back", async () => {
    health = { ...health, eventBus: DOWN };
    const response = await fetch(`${url}/health`);
    expect(response.status).toBe(200);
    expect(await response.json()).toMatchObject({ status: "degraded", eventBus: { reconnectAttempts: 3 } });
  });

  test("is 503 where the process itself has failed", async () => {
    health = { ...health, status: "failed" };
    const response = await fetch(`${url}/health`);
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ status: "failed" });
  });
});

test("/ready is 503 with the reasons while no new work shall come", async () => {
  expect((await fetch(`${url}/ready`)).status).toBe(200);
  ready = { reasons: ["draining"] };
  const response = await fetch(`${url}/ready`);
  expect(response.status).toBe(503);
  expect(await response.json()).toMatchObject({ ready: false, reasons: ["draining"] });
});

test("/metrics is text for Prometheus", async () => {
  const response = await fetch(`${url}/metrics`);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4");
  expect(await response.text()).toBe("up 1\n");
});

test("/metrics on the edge's port is JSON", async () => {
  const clock = { nowMs: NOW_MS };
  const route = edgeMetricsRoute({
    report: () => ({ connectedSockets: 2, connections: { total: 5, online: 2 }, totalRooms: 1 }),
    now: () => clock.nowMs,
  });
  clock.nowMs += 90_500;
  const answer = await route.answer({ query: new URLSearchParams(), authorization: undefined });
  expect(JSON.parse(answer.body)).toEqual({
    connectedSockets: 2,
    connections: { total: 5, online: 2 },
    totalRooms: 1,
    uptime: 90,
    memory: expect.objectContaining({ rss: expect.any(Number) as number }) as object,
    timestamp: "2025-01-02T03:05:35.500Z",
  });
});

describe("other requests", () => {
  test("HEAD gets the headers of GET and no body", async () => {
    const response = await fetch(`${url}/metrics`, { method: "HEAD" });
    expect([response.status, response.headers.get("content-length")]).toEqual([200, "5"]);
    expect(await response.text()).toBe("");
  });

  test("an unknown path is 404, in JSON; so is one that only looks alike", async () => {
    for (const path of ["/", "/healthz", "/health/", "//health", "/__proto__", "/constructor"]) {
      const response = await fetch(`${url}${path}`);
      expect([path, response.status]).toEqual([path, 404]);
      expect(await response.json()).toMatchObject({ code: "not_found" });
    }
  });

  test("another method is 405 and says which there are; its body is not waited for", async () => {
    const response = await fetch(`${url}/health`, { method: "POST", body: "x".repeat(100_000) });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "GET, HEAD"]);
    expect(response.headers.get("connection")).toBe("close");
  });

  test("a route gets the query and the credentials", async () => {
    const response = await fetch(`${url}/echo?a=b%20c`, { headers: { authorization: "Bearer x" } });
    expect(await response.text()).toBe("b c Bearer x");
  });

  test("a route that throws is 500 without the reason, which is logged", async () => {
    const response = await fetch(`${url}/broken`);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toContain("secret");
    expect(logged).toMatchObject([{ path: "/broken", error: { message: "a secret reason" } }]);
  });

  test("headers beyond 16 KiB are refused", async () => {
    const response = await fetch(`${url}/health`, { headers: { "x-long": "x".repeat(17_000) } });
    expect(response.status).toBe(431);
  });
});

test("closing cuts a connection that does not end by itself", async () => {
  const socket: Socket = connect(server.port, "127.0.0.1");
  await once(socket, "connect");
  socket.write("GET /health HTTP/1.1\r\nHost: a\r\n");
  const closed = once(socket, "close");
  socket.on("error", () => undefined);
  await server.close(10);
  await closed;
});

test("a port that is taken is an error that names it", async () => {
  const address = { host: "127.0.0.1", port: server.port, portVariable: "HTTP_PORT" };
  const second = startHttpServer({ ...address, routes: [], logger: console });
  await expect(second).rejects.toThrow(`HTTP_PORT: cannot listen on 127.0.0.1:${server.port}`);
});

test("an address that is not this machine's is an error that names HOST", async () => {
  // TEST-NET-1 (RFC 5737).
  const address = { host: "192.0.2.1", port: 0, portVariable: "HTTP_PORT" };
  await expect(startHttpServer({ ...address, routes: [], logger: console })).rejects.toThrow(
    "HOST: cannot listen on 192.0.2.1:0",
  );
});

test("a path for sockets tells a plain request what it speaks", async () => {
  const address = { host: "127.0.0.1", port: 0, portVariable: "PORT" };
  const sockets = await startHttpServer({ ...address, routes: [socketsOnlyRoute("/ws")], logger: console });
  try {
    const response = await fetch(`http://127.0.0.1:${sockets.port}/ws`);
    expect(response.status).toBe(426);
    expect(response.headers.get("upgrade")).toBe("websocket");
    expect(await response.text()).toContain("realtime.v1.json");
  } finally {
    await sockets.close(0);
  }
});
