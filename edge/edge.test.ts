/** A whole edge with real sockets, over a loopback link to a fanout in the test's hand. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ReconnectReason, ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { AppClient } from "#test/support/app-client.js";
import { FakeFanout } from "#test/support/fake-fanout.js";
import { RawOpcode, RawSocket } from "#test/support/raw-socket.js";
import { text } from "#test/support/session-on-fake-socket.js";
import { waitFor } from "#test/support/wait-for.js";
import { OriginList } from "./admission/origin.js";
import { AuthenticationError } from "./auth/authentication-error.js";
import { Edge, type EdgeOptions } from "./edge.js";
import { fanoutDiscovery } from "./link/fanout-discovery.js";

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

const position = (offset: number) => ({ epoch: "e", offset, tag: offset });

async function startEdge(options: Partial<EdgeOptions> = {}) {
  const fanouts: FakeFanout[] = [];
  const edge = new Edge({
    edgeId: "edge-0",
    version: "test",
    discovery: fanoutDiscovery("a"),
    connect: () => {
      const [ours, theirs] = loopbackLink();
      const fanout = new FakeFanout("a", theirs);
      fanouts.push(fanout);
      fanout.hello();
      return ours;
    },
    verifier: {
      verify: (token) => Promise.resolve({ principal: Principal.fromPartial({ userId: token }) }),
    },
    origins: new OriginList(["*"]),
    admission: {},
    maxPayloadBytes: 65_536,
    maxFragments: 128,
    firstFrameDeadlineMs: 10_000,
    // A step of the sweep, and so a ping of somebody, every 10 ms.
    heartbeatIntervalMs: 320,
    maxConnectionLifetimeMs: 0,
    slow: { conflateBytes: 65_536, closeBytes: 1_048_576 },
    maxQueuedBytes: 268_435_456,
    trustedProxies: 0,
    trustUserType: false,
    logger: silent,
    ...options,
  });
  edge.start();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => edge.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(() => {
    edge.stop();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const fanout = await waitFor(() => (edge.health.readyLinks === 1 ? fanouts[0] : undefined), {
    what: "a link",
  });
  return { edge, fanout, port, url: `ws://127.0.0.1:${port}/ws` };
}

/** A socket that the fanout has put into the group of a channel, and that answers pings as the test says. */
async function following() {
  const parts = await startEdge();
  const raw = await RawSocket.open(parts.port, { token: "u1" });
  cleanups.push(() => raw.destroy());
  const open = await waitFor(() => parts.fanout.heard("open")[0], { what: "the session" });
  const value = { group: 1, session: open.session, channel: "order:1", after: position(3) };
  parts.fanout.say({ $case: "join", value });
  await waitFor(() => parts.edge.health.groups === 1, { what: "the group" });
  const pings = () => raw.frames().filter(({ opcode }) => opcode === RawOpcode.PING);
  const confirmed = () => parts.fanout.heard("confirm").map(({ positions }) => positions);
  const untilPing = (count: number) =>
    waitFor(() => pings()[count - 1]?.payload, { what: `ping ${count}`, timeoutMs: 5000 });
  return { ...parts, raw, pings, confirmed, untilPing };
}

describe("a resume", () => {
  it.each(["json", "protobuf"] as const)(
    "is announced to the fanout by the handshake (%s)",
    async (framing) => {
      const { fanout, url } = await startEdge();
      const app = await AppClient.open({ url, token: "u1", framing, resume: true });
      cleanups.push(() => app.websocket.terminate());
      await waitFor(() => fanout.heard("open").length === 1, { what: "the session" });
      expect(fanout.heard("open")).toMatchObject([{ awaitsResume: true, state: new Uint8Array(0) }]);
    },
  );

  it.each([
    { query: {}, resumes: true, awaitsResume: true },
    { query: { resume: "1" }, resumes: false, awaitsResume: true },
    { query: { resume: "false" }, resumes: false, awaitsResume: false },
  ])(
    "is announced by an authenticate frame, or by the handshake before it: $query, $resumes",
    async ({ query, resumes, awaitsResume }) => {
      const { fanout, url } = await startEdge();
      const app = await AppClient.open({ url, query });
      cleanups.push(() => app.websocket.terminate());
      const value = { token: "u1", deviceId: "", platform: "", userType: "", resumes, followOwn: false };
      app.send({ $case: "authenticate", value });
      await waitFor(() => fanout.heard("open").length === 1, { what: "the session" });
      expect(fanout.heard("open")).toMatchObject([{ awaitsResume }]);
    },
  );

  it.each([
    { query: { follow: "own" }, asked: false, followOwn: true },
    { query: {}, asked: true, followOwn: true },
    { query: {}, asked: false, followOwn: false },
  ])(
    "may ask for the user's own channels, in the handshake or in authenticate: $query, $asked",
    async ({ query, asked, followOwn }) => {
      const { fanout, url } = await startEdge();
      const app = await AppClient.open({ url, query });
      cleanups.push(() => app.websocket.terminate());
      const value = {
        token: "u1",
        deviceId: "",
        platform: "",
        userType: "",
        resumes: false,
        followOwn: asked,
      };
      app.send({ $case: "authenticate", value });
      await waitFor(() => fanout.heard("open").length === 1, { what: "the session" });
      expect(fanout.heard("open")).toMatchObject([{ followOwn }]);
    },
  );

  it("that is announced by a word that nobody means is refused", async () => {
    const { port } = await startEdge();
    const raw = await RawSocket.connect(port);
    cleanups.push(() => raw.destroy());
    const { status, body } = await raw.handshake({ token: "u1", path: "/ws?resume=maybe" });
    expect(status).toBe(400);
    expect(JSON.parse(body)).toMatchObject({ code: "invalid_argument" });
  });
});

describe("a heartbeat", () => {
  it("confirms to the fanout what the client had before the ping, once its pong comes, and once only", async () => {
    const { fanout, raw, confirmed, untilPing } = await following();
    const first = await untilPing(1);
    expect(confirmed()).toEqual([]);
    fanout.deliver({ group: 1, protobuf: text("event"), position: position(4) });
    raw.send(RawOpcode.PONG, first);
    await waitFor(() => confirmed().length === 1, { what: "a confirmation" });
    expect(confirmed()).toEqual([{ "order:1": position(3) }]);
    for (let count = 2; count <= 4; count += 1) raw.send(RawOpcode.PONG, await untilPing(count));
    await waitFor(() => confirmed().length === 2, { what: "the second confirmation" });
    await untilPing(5);
    expect(confirmed().slice(1)).toEqual([{ "order:1": position(4) }]);
  });

  it("confirms nothing by pongs that answer no ping, however many come, and is a sign of life all the same", async () => {
    const { raw, confirmed, untilPing, edge } = await following();
    const ping = await untilPing(1);
    const forged = Buffer.from(ping);
    forged.writeUInt32BE(ping.readUInt32BE() + 1000);
    // Longer than two rounds of the heartbeat.
    for (let count = 2; count <= 6; count += 1) {
      for (const payload of [forged, Buffer.alloc(0), Buffer.from("pong"), Buffer.alloc(125, 1)]) {
        for (let times = 0; times < 500; times += 1) raw.send(RawOpcode.PONG, payload);
      }
      await untilPing(count);
    }
    expect(confirmed()).toEqual([]);
    expect(edge.health.connections).toBe(1);
  });

  it("confirms nothing of a client that never answers, and ends it", async () => {
    const { raw, confirmed } = await following();
    expect(await raw.untilCloseCode()).toBe(CloseCode.HEARTBEAT_MISSED);
    expect(confirmed()).toEqual([]);
  });
});

describe("a connection's lifetime", () => {
  it("ends with a word to connect again, then with the code for it", async () => {
    const { url, edge } = await startEdge({ maxConnectionLifetimeMs: 100 });
    const app = await AppClient.open({ url, token: "u1", framing: "protobuf" });
    expect(await app.body("reconnect")).toEqual({
      reason: ReconnectReason.RECONNECT_REASON_LIFETIME,
      afterMs: 0,
    });
    expect(app.closedWith).toBeUndefined();
    expect((await app.closed).code).toBe(CloseCode.LIFETIME);
    await waitFor(() => edge.health.connections === 0, { what: "the end of the connection" });
    expect(edge.counters.connectionsClosed).toEqual(new Map([["lifetime", 1]]));
  });

  it("does not shorten what a draining edge has told", async () => {
    const { url, edge } = await startEdge({ maxConnectionLifetimeMs: 400 });
    const app = await AppClient.open({ url, token: "u1", framing: "json" });
    await edge.drain(1500);
    expect((await app.closed).code).toBe(CloseCode.DRAINING);
    expect(app.frames).toMatchObject([
      { body: { value: { reason: ReconnectReason.RECONNECT_REASON_DRAINING } } },
    ]);
  });
});

describe("a token on a live socket", () => {
  const principal = { app: "default", role: "customer", tokenId: "t2" };

  async function open(options: Partial<EdgeOptions> = {}) {
    const parts = await startEdge({
      verifier: {
        verify: (token) =>
          token === "forged"
            ? Promise.reject(new AuthenticationError("bad_signature", "the token's signature is not valid"))
            : Promise.resolve({ principal: Principal.fromPartial({ ...principal, userId: token }) }),
      },
      ...options,
    });
    const app = await AppClient.open({ url: parts.url, token: "u1", framing: "protobuf" });
    cleanups.push(() => app.websocket.terminate());
    const { session } = await waitFor(() => parts.fanout.heard("open")[0], { what: "the session" });
    const verify = (token: string, userType = ""): void =>
      parts.fanout.say({ $case: "verify", value: { session, upSequence: 3, token, userType } });
    const answer = () => waitFor(() => parts.fanout.heard("verified")[0], { what: "what the edge says" });
    return { ...parts, app, session, verify, answer };
  }

  it("is checked for the fanout that asks, which hears whose it is", async () => {
    const { verify, answer, fanout } = await open();
    expect(fanout.heard("hello")[0]?.features).toContain("verify_token");
    verify("u2", "customer");
    const { result, ...about } = await answer();
    expect(about).toEqual({ session: 1, upSequence: 3 });
    expect(result).toMatchObject({ $case: "principal", value: { ...principal, userId: "u2" } });
  });

  it.each([
    ["forged", "", { code: 1, message: "the token's signature is not valid" }, "bad_signature"],
    ["u1", "porter", { code: 2, message: "the user type is not the token's role" }, "user_type"],
  ])("that is not good is refused as in a handshake: %s %s", async (token, userType, error, reason) => {
    const { verify, answer, edge, app } = await open();
    verify(token, userType);
    expect((await answer()).result).toMatchObject({ $case: "error", value: error });
    expect(edge.counters.authenticationErrors).toEqual(new Map([[reason, 1]]));
    expect(app.closedWith).toBeUndefined();
  });

  it("that the fanout accepts is what the next home hears of, and what the socket ends with", async () => {
    const { session, fanout, app } = await open({ tokenExpiryWarningMs: 0 });
    const expiresAt = Math.ceil(Date.now() / 1000) + 1;
    const next = Principal.fromPartial({ ...principal, userId: "u1", tokenId: "t3", expiresAt });
    fanout.say({ $case: "refresh", value: { session, principal: next } });
    fanout.say({ $case: "released", value: { session, state: text("its state") } });
    await waitFor(() => fanout.heard("open").length === 2, { what: "the next home" });
    expect(fanout.heard("open")[1]).toMatchObject({ principal: next });
    expect(await app.closed).toMatchObject({ code: CloseCode.TOKEN_EXPIRED });
    expect(Date.now()).toBeGreaterThanOrEqual(expiresAt * 1000);
  });
});

describe("somebody without a token", () => {
  const nobody = { token: "", deviceId: "d1", platform: "", userType: "", resumes: false, followOwn: false };

  it("is let in where that is configured, each as somebody else", async () => {
    const { fanout, url } = await startEdge({ anonymousApp: "shop" });
    for (let count = 1; count <= 2; count += 1) {
      const app = await AppClient.open({ url });
      cleanups.push(() => app.websocket.terminate());
      app.send({ $case: "authenticate", value: nobody });
      await waitFor(() => fanout.heard("open").length === count, { what: "the session" });
    }
    const opened = fanout.heard("open");
    expect(opened).toMatchObject([
      { deviceId: "d1", principal: { app: "shop", role: "anonymous", tokenId: "", expiresAt: 0 } },
      {},
    ]);
    expect(new Set(opened.map((open) => open.principal?.userId)).size).toBe(2);
  });

  it.each([
    ["not configured", {}, nobody, 4100],
    ["to be somebody", { anonymousApp: "shop" }, { ...nobody, userType: "porter" }, 4100],
  ])("is refused where it is %s", async (_what, options, value, code) => {
    const { fanout, url } = await startEdge({
      ...options,
      verifier: { verify: () => Promise.reject(new AuthenticationError("missing", "a token is needed")) },
    });
    const app = await AppClient.open({ url });
    app.send({ $case: "authenticate", value });
    expect((await app.closed).code).toBe(code);
    expect(fanout.heard("open")).toEqual([]);
  });
});

it("a draining edge refuses those who wait for their turn, and those who come", async () => {
  const { edge, port } = await startEdge({ admission: { handshakesPerSecond: 1, handshakeBurst: 1 } });
  const [first, waiting, late] = await Promise.all([1, 2, 3].map(() => RawSocket.connect(port)));
  cleanups.push(() => [first, waiting, late].forEach((each) => each?.destroy()));
  expect((await first?.handshake({ token: "u1" }))?.status).toBe(101);
  const answer = waiting?.handshake({ token: "u2" });
  await waitFor(() => edge.waitingHandshakes === 1, { what: "somebody who waits" });
  const draining = edge.drain(0);
  expect(edge.health.isDraining).toBe(true);
  expect((await answer)?.status).toBe(503);
  expect((await late?.handshake({ token: "u3" }))?.status).toBe(503);
  await draining;
  expect(edge.health.connections).toBe(0);
  const [told] = first?.frames() ?? [];
  const { body } = ServerFrame.decode(new Uint8Array(told?.payload ?? Buffer.alloc(0)));
  expect(body?.$case).toBe("reconnect");
});
