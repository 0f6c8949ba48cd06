/** Real handshakes over TCP at an admission that lets in 20 a second of the test's time: who waits, who leaves, who is told what. */
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { freePort } from "#test/support/free-port.js";
import { RawSocket, type HandshakeOptions } from "#test/support/raw-socket.js";
import { waitFor } from "#test/support/wait-for.js";
import { Admission } from "../admission/admission.js";
import { OriginList } from "../admission/origin.js";
import type { TokenVerifier, VerifiedToken } from "../auth/token-verifier.js";
import { EdgeCounters } from "../edge-counters.js";
import { SocketServer, type Opening } from "./socket-server.js";
import type { UpgradeRefusal } from "./upgrade-refusal.js";

const REPLACED: UpgradeRefusal = {
  status: 503,
  code: "unavailable",
  message: "this edge is being replaced",
  retryAfterMs: 2000,
};

let server: Server;
let port: number;
let nowMs: number;
let admission: Admission;
let sockets: SocketServer;
let counters: EdgeCounters;
let refusal: UpgradeRefusal | undefined;
let openings: Opening[];
let clients: RawSocket[];
const verify = vi.fn<TokenVerifier["verify"]>();

beforeEach(async () => {
  nowMs = 0;
  counters = new EdgeCounters();
  refusal = undefined;
  openings = [];
  clients = [];
  verify.mockReset();
  verify.mockImplementation((token) =>
    Promise.resolve({ principal: Principal.fromPartial({ userId: token }) }),
  );
  admission = new Admission({
    origins: new OriginList(["*"]),
    limits: { handshakesPerSecond: 20, handshakeBurst: 1, maxWaitingHandshakes: 30 },
  });
  sockets = new SocketServer({
    maxPayloadBytes: 65_536,
    maxFragments: 128,
    firstFrameDeadlineMs: 10_000,
    maxConnectionLifetimeMs: 0,
    trustedProxies: 0,
    trustUserType: false,
    slow: { conflateBytes: 65_536, closeBytes: 1_048_576 },
    admission,
    verifier: { verify },
    counters,
    backlogged: new Set(),
    listener: {
      authenticate: (connection, request, id) => void sockets.authenticate(connection, request, id),
      frame: () => undefined,
      pong: () => undefined,
      lifetimeOver: () => undefined,
      closed: () => undefined,
    },
    nowMs: () => nowMs,
    refusal: () => refusal,
    opened: (_connection, opening) => openings.push(opening),
  });
  server = createServer();
  server.on("upgrade", (request, socket, head) => sockets.upgrade(request, socket, head));
  port = await freePort();
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
});

afterEach(() => {
  for (const client of clients) client.destroy();
  for (const connection of [...sockets.connections]) connection.terminate();
  sockets.refuseWaiting();
  server.close();
});

async function connect(): Promise<RawSocket> {
  const client = await RawSocket.connect(port);
  clients.push(client);
  return client;
}

/** Comes and waits for its turn. */
async function wait(options: HandshakeOptions = {}) {
  const before = admission.waiting;
  const client = await connect();
  const answer = client.handshake(options);
  await waitFor(() => admission.waiting > before, { what: "a place in the line" });
  return { client, answer };
}

async function waitEach(users: readonly string[], path = "/ws") {
  const waiting = [];
  for (const token of users) waiting.push(await wait({ token, path }));
  return waiting;
}

/** Somebody comes first and takes the one token that there is. */
async function takeToken(): Promise<void> {
  expect((await (await connect()).handshake({ token: "first" })).status).toBe(101);
}

describe("a handshake above the rate", () => {
  it("waits and is let in, in the order in which it came, with all that it had said", async () => {
    await takeToken();
    const users = Array.from({ length: 8 }, (_, index) => `u${index}`);
    const waiting = await waitEach(users, "/ws?deviceId=d1&resume=true");
    const waitedMs: number[] = [];
    counters.handshakeWaitMs = { observe: (valueMs) => waitedMs.push(valueMs) };
    for (const { answer } of waiting) {
      nowMs += 50;
      expect((await answer).status).toBe(101);
    }
    expect(openings.map(({ principal }) => principal.userId)).toEqual(["first", ...users]);
    expect(openings.at(-1)).toMatchObject({ deviceId: "d1", awaitsResume: true });
    expect(waitedMs).toEqual(users.map((_, index) => 50 * (index + 1)));
    expect(admission.waiting).toBe(0);
    expect(admission.occupancy).toEqual({ connections: 9, pendingHandshakes: 0 });
  });

  it("costs no look at its token while it waits", async () => {
    await takeToken();
    const waiting = await waitEach(["a", "b", "c"]);
    expect(verify).toHaveBeenCalledTimes(1);
    nowMs += 50;
    await waiting[0]?.answer;
    expect(verify).toHaveBeenCalledTimes(2);
  });

  it.each([
    ["ends its side in order", (client: RawSocket) => client.socket.end()],
    ["breaks off", (client: RawSocket) => client.reset()],
    ["is gone", (client: RawSocket) => client.destroy()],
  ])("leaves the line at once where its client %s", async (_how, leave) => {
    await takeToken();
    const [ahead, gone, behind] = await waitEach(["ahead", "gone", "behind"]);
    if (gone === undefined) throw new Error("nobody waits");
    gone.answer.catch(() => undefined);
    leave(gone.client);
    await waitFor(() => admission.waiting === 2, { what: "the place to be given up" });
    for (const each of [ahead, behind]) {
      nowMs += 50;
      expect((await each?.answer)?.status).toBe(101);
    }
    expect(openings.map(({ principal }) => principal.userId)).toEqual(["first", "ahead", "behind"]);
    await waitFor(() => admission.addresses === 1 && admission.waiting === 0, { what: "an empty line" });
  });

  it("is refused beyond the bound, at once, and told when to come back", async () => {
    await takeToken();
    await waitEach(Array.from({ length: 30 }, (_, index) => `u${index}`));
    const { status, headers, body } = await (await connect()).handshake({ token: "late" });
    expect(status).toBe(503);
    expect(Number(headers.get("retry-after"))).toBeGreaterThanOrEqual(2);
    expect(JSON.parse(body)).toMatchObject({ code: "rate_limited" });
    expect(counters.handshakesRefused).toEqual(new Map([["handshake_rate", 1]]));
  });

  it("is refused when the edge is replaced, also while it waits", async () => {
    await takeToken();
    const waiting = await waitEach(["a", "b", "c"]);
    refusal = REPLACED;
    sockets.refuseWaiting();
    expect(admission.waiting).toBe(0);
    for (const { answer } of waiting) {
      const { status, headers, body } = await answer;
      expect([status, headers.get("retry-after")]).toEqual([503, "2"]);
      expect(JSON.parse(body)).toMatchObject({ code: "unavailable" });
    }
    expect(openings).toHaveLength(1);
  });

  it("is refused at its turn where the edge takes nobody by then, and holds nothing after", async () => {
    await takeToken();
    const { answer } = await wait({ token: "u" });
    refusal = REPLACED;
    nowMs += 50;
    expect((await answer).status).toBe(503);
    await waitFor(() => admission.occupancy.pendingHandshakes === 0, { what: "its place given back" });
    expect(openings).toHaveLength(1);
    expect(counters.handshakesRefused.get("unavailable")).toBe(1);
  });

  it("is refused where the edge is replaced while its token is checked", async () => {
    let checked: (verified: VerifiedToken) => void = () => undefined;
    verify.mockImplementation(() => new Promise((resolve) => (checked = resolve)));
    const client = await connect();
    const answer = client.handshake({ token: "u" });
    await waitFor(() => verify.mock.calls.length === 1, { what: "the token to be checked" });
    refusal = REPLACED;
    checked({ principal: Principal.fromPartial({ userId: "u" }) });
    expect((await answer).status).toBe(503);
    expect(openings).toEqual([]);
  });
});
