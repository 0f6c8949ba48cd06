import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { handshakeRequest, RawSocket, type HandshakeOptions } from "#test/support/raw-socket.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { Witness } from "./witness.js";

let cluster: Cluster;
let witness: Witness;
let token: string;
const opened: RawSocket[] = [];

beforeAll(async () => {
  cluster = await Cluster.start({
    edges: 2,
    fanouts: 1,
    env: {
      FIRST_FRAME_DEADLINE: "1s",
      CORS_ORIGIN: "https://app.example.com",
      HANDSHAKES_PER_SECOND: "5000",
      HANDSHAKES_PER_SECOND_PER_ADDRESS: "5000",
      LOG_LEVEL: "trace",
    },
  });
  token = await cluster.token("mallory", "customer");
  witness = await Witness.start(cluster, { follower: 0, porter: 1 });
});

afterAll(async () => {
  for (const socket of opened) socket.destroy();
  await witness.stop();
  await cluster.stop();
});

function port(edge = 0): number {
  const service = cluster.edges[edge];
  if (service === undefined) throw new Error(`no edge ${edge}`);
  return service.port("PORT");
}

async function connect(edge = 0): Promise<RawSocket> {
  const socket = await RawSocket.connect(port(edge));
  opened.push(socket);
  return socket;
}

/** Open TCP sockets of an edge, its links and what asks for its metrics included. */
async function tcpSockets(edge = 0): Promise<number> {
  const service = cluster.edges[edge];
  const metrics =
    service === undefined ? "" : await (await fetch(service.url("METRICS_PORT", "/metrics"))).text();
  const line = metrics
    .split("\n")
    .find((each) => each.startsWith('nodejs_active_resources{type="TCPSocketWrap"'));
  return Number(line?.split(" ").at(-1));
}

/** What the edge holds comes back to what it was, give or take a keep-alive connection of the test itself. */
async function untilSocketsAre(before: number): Promise<void> {
  await waitFor(async () => (await tcpSockets()) <= before + 2, {
    what: "the edge to have no more sockets than before",
    timeoutMs: 20_000,
    pollMs: 100,
  });
}

interface Refused {
  readonly what: string;
  readonly handshake: HandshakeOptions;
  readonly status: number;
  readonly code: string;
}

const REFUSED: readonly Refused[] = [
  { what: "no subprotocol", handshake: { protocol: "" }, status: 400, code: "invalid_argument" },
  {
    what: "an unknown one",
    handshake: { protocol: "realtime.v9.xml" },
    status: 400,
    code: "invalid_argument",
  },
  {
    what: "nearly a known one",
    handshake: { protocol: "REALTIME.V1.JSON" },
    status: 400,
    code: "invalid_argument",
  },
  { what: "another path", handshake: { path: "/socket" }, status: 404, code: "not_found" },
  { what: "a path that climbs", handshake: { path: "/ws/../ws" }, status: 404, code: "not_found" },
  { what: "a target that is no URL", handshake: { path: "http://%%%/ws" }, status: 404, code: "not_found" },
  {
    what: "a foreign origin",
    handshake: { headers: { Origin: "https://evil.example.com" } },
    status: 403,
    code: "permission_denied",
  },
  {
    what: "the origin null",
    handshake: { headers: { Origin: "null" } },
    status: 403,
    code: "permission_denied",
  },
  {
    what: "a device id that is not one",
    handshake: { path: "/ws?deviceId=%00%0a" },
    status: 400,
    code: "invalid_argument",
  },
];

describe("a handshake that is refused", () => {
  it.each(REFUSED)("for $what gets $status before any upgrade, and the connection ends", async (refused) => {
    const before = await tcpSockets();
    const socket = await connect();
    const answer = await socket.handshake({ token, ...refused.handshake });
    expect(answer.status).toBe(refused.status);
    expect(JSON.parse(answer.body)).toMatchObject({ code: refused.code });
    expect(answer.headers.get("connection")).toBe("close");
    await socket.untilClosed();
    // This end does not close: the edge must not wait for it.
    await untilSocketsAre(before);
  });

  it.each([
    ["of another WebSocket version", { headers: { "Sec-WebSocket-Version": "12" } }, 400],
    ["without a key", { headers: { "Sec-WebSocket-Key": "short" } }, 400],
  ])("%s gets %o → %i", async (_what, handshake, status) => {
    const socket = await connect();
    const replaced = handshakeRequest({ token }).replace(/Sec-WebSocket-(Version|Key): .*\r\n/g, (line) => {
      const name = line.slice(0, line.indexOf(":"));
      const value: unknown = Reflect.get(handshake.headers, name);
      return typeof value === "string" ? `${name}: ${value}\r\n` : line;
    });
    socket.write(replaced);
    expect((await socket.answer()).status).toBe(status);
    await socket.untilClosed();
  });
});

describe("what is no handshake at all", () => {
  it.each([
    ["garbage", Buffer.from(Array.from({ length: 5000 }, (_, index) => (index * 7919) % 256))],
    ["TLS", Buffer.from("1603010200010001fc0303", "hex")],
    ["HTTP with a header of 64 KiB", Buffer.from(`GET /ws HTTP/1.1\r\nX: ${"x".repeat(65_536)}\r\n\r\n`)],
    ["a request line without an end", Buffer.from("G".repeat(100_000))],
    [
      "two lengths",
      Buffer.from("POST /ws HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
    ],
    ["CONNECT", Buffer.from("CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n")],
    [
      "an upgrade to something else",
      Buffer.from("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"),
    ],
  ])("%s is answered or cut, and nothing is left", async (_what, bytes) => {
    const before = await tcpSockets();
    for (let times = 0; times < 20; times += 1) (await connect()).write(bytes);
    await Promise.all(opened.slice(-20).map((socket) => socket.untilClosed()));
    await untilSocketsAre(before);
  });

  it("silence and slow handshakes are cut after their time", { timeout: 40_000 }, async () => {
    const before = await tcpSockets();
    const silent = await Promise.all(Array.from({ length: 100 }, () => connect()));
    const slow = await Promise.all(Array.from({ length: 100 }, () => connect()));
    const request = handshakeRequest({ token });
    let sent = 0;
    const dripping = setInterval(() => {
      for (const socket of slow) if (!socket.isClosed) socket.write(request[sent] ?? "");
      sent += 1;
    }, 200);
    try {
      await Promise.all([...silent, ...slow].map((socket) => socket.untilClosed(20_000)));
    } finally {
      clearInterval(dripping);
    }
    await untilSocketsAre(before);
  });

  it("a socket that shakes hands and says nothing is closed at the first frame's deadline", async () => {
    const sockets = await Promise.all(
      Array.from({ length: 50 }, () => RawSocket.open(port(), { protocol: "realtime.v1.json" })),
    );
    opened.push(...sockets);
    for (const socket of sockets)
      expect(await socket.untilCloseCode()).toBe(CloseCode.AUTHENTICATION_TIMEOUT);
    // And cut although this end answers no close frame.
    await Promise.all(sockets.map((socket) => socket.untilClosed()));
  });
});

describe("1000 connects that are reset at once", () => {
  it.each(["before", "during", "after"] as const)("%s the handshake leave nothing", async (when) => {
    const edge = cluster.edges[0];
    if (edge === undefined) throw new Error("no edge");
    const before = await tcpSockets();
    const connections = await cluster.metric(edge, "realtime_active_connections");
    for (let batch = 0; batch < 20; batch += 1) {
      const sockets = await Promise.all(Array.from({ length: 50 }, () => RawSocket.connect(port())));
      for (const socket of sockets) {
        if (when === "after")
          socket.handshake({ token }).then(
            () => socket.reset(),
            () => undefined,
          );
        else {
          if (when === "during") socket.write(handshakeRequest({ token }));
          // A RST overtakes what is not sent yet: first the request, then the reset.
          setImmediate(() => socket.reset());
        }
      }
      await waitFor(() => sockets.every(({ socket }) => socket.destroyed), {
        what: "50 resets",
        timeoutMs: 20_000,
      });
    }
    await waitFor(async () => (await cluster.metric(edge, "realtime_active_connections")) === connections, {
      what: "the edge to count the connections that there are",
      timeoutMs: 10_000,
    });
    await untilSocketsAre(before);
    const fanout = cluster.fanouts[0];
    if (fanout === undefined) throw new Error("no fanout");
    // The two of the witness.
    await waitFor(async () => (await cluster.metric(fanout, "realtime_sessions")) === 2, {
      what: "the fanout to have the witness's sessions only",
    });
  });
});

describe("a storm of handshakes", () => {
  /** So many at once, each from the address that it says. */
  async function storm(edge: number, addressOf: (index: number) => string) {
    const sockets = await Promise.all(Array.from({ length: 200 }, () => connect(edge)));
    const answers = await Promise.all(
      sockets.map((socket, index) =>
        socket.handshake({ token, headers: { "X-Forwarded-For": addressOf(index) } }),
      ),
    );
    for (const socket of sockets) socket.destroy();
    return answers;
  }

  beforeAll(async () => {
    await cluster.startEdge(2, {
      TRUSTED_PROXIES: "1",
      MAX_WAITING_HANDSHAKES: "0",
      HANDSHAKES_PER_SECOND: "30",
      HANDSHAKES_PER_SECOND_PER_ADDRESS: "10",
    });
    await cluster.startEdge(3, {
      TRUSTED_PROXIES: "1",
      MAX_CONNECTIONS: "20",
      CONNECTIONS_PER_ADDRESS: "10",
    });
  });

  it.each([
    { edge: 2, from: "one address", address: () => "192.0.2.1", status: 429, admitted: { min: 20, max: 60 } },
    {
      edge: 2,
      from: "many",
      address: (index: number) => `198.51.100.${index}`,
      status: 503,
      admitted: { min: 1, max: 120 },
    },
    { edge: 3, from: "one address", address: () => "192.0.2.1", status: 429, admitted: { min: 10, max: 10 } },
    {
      edge: 3,
      from: "many",
      address: (index: number) => `203.0.113.${index}`,
      status: 503,
      admitted: { min: 10, max: 20 },
    },
  ])(
    "at edge $edge from $from: what is too much gets $status and is told when to come back",
    async (each) => {
      const answers = await storm(each.edge, each.address);
      const refused = answers.filter(({ status }) => status !== 101);
      expect(new Set(refused.map(({ status }) => status))).toEqual(new Set([each.status]));
      const admitted = answers.length - refused.length;
      expect(admitted).toBeGreaterThanOrEqual(each.admitted.min);
      expect(admitted).toBeLessThanOrEqual(each.admitted.max);
      for (const { headers, body } of refused) {
        expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(1);
        const said = JSON.parse(body) as { code: string; retryAfterMs: number };
        expect(said.code).toBe("rate_limited");
        expect(said.retryAfterMs).toBeGreaterThan(0);
      }
      // Not all at the same time again.
      expect(new Set(refused.map(({ body }) => body)).size).toBeGreaterThan(refused.length / 4);
    },
  );
});

describe("after all this", () => {
  it("no other socket noticed, no process ended, and no token is in a log", async () => {
    await witness.check();
    const marker = randomUUID();
    const socket = await connect();
    await socket.handshake({ path: `/ws?token=${token}&deviceId=${marker}`, protocol: "" });
    for (const service of [...cluster.edges, ...cluster.fanouts]) {
      service.process.assertRunning();
      const log = service.process.output.join("\n");
      expect([token, token.split(".")[2] ?? "", marker].filter((secret) => log.includes(secret))).toEqual([]);
    }
  });
});
