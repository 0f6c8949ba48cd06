/**
 * The life of sessions by their tokens, over real processes: refreshed on a live socket, warned, closed in time,
 * revoked everywhere within two seconds, limited for each user over the whole cluster, and without any token.
 */
import { randomUUID } from "node:crypto";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { rendezvous } from "#edge/link/rendezvous.js";
import { CloseCode } from "#proto/close-codes.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { signToken } from "#services/token/sign-token.js";
import type { Json } from "#test/contract/api-client.js";
import { AppClient, type AppFraming } from "#test/support/app-client.js";
import { startRedis } from "#test/support/redis.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

const WARNING_MS = 3000;
const MAX_SESSIONS = 3;
const ENV = {
  TOKEN_EXPIRY_WARNING: `${WARNING_MS}ms`,
  MAX_SESSIONS_PER_USER: String(MAX_SESSIONS),
  ALLOW_ANONYMOUS: "true",
  HEARTBEAT_INTERVAL: "60s",
};
const FANOUTS = [{ name: "fanout-0" }, { name: "fanout-1" }];

let cluster: Cluster;
const clients: AppClient[] = [];

beforeAll(async () => {
  cluster = await Cluster.start({ edges: 2, fanouts: 2, env: ENV });
});

afterEach(() => {
  for (const client of clients.splice(0)) client.websocket.terminate();
});

afterAll(() => cluster.stop());

interface TokenOptions {
  readonly role?: string;
  readonly ttlSeconds?: number;
  readonly tokenId?: string;
  readonly issuedAtMs?: number;
  readonly app?: string;
}

function token(userId: string, options: TokenOptions = {}, of = cluster): Promise<string> {
  const { role = "customer", ttlSeconds = 3600, tokenId, issuedAtMs } = options;
  const claims = tokenId === undefined ? {} : { jti: tokenId };
  return signToken(
    { sub: userId, role, app: options.app ?? of.app, ttlSeconds, claims },
    { ...DEFAULT_JWT_OPTIONS, secret: of.jwtSecret },
    issuedAtMs,
  );
}

/** A socket that may be refused. */
async function open(
  edge: number,
  bearer: string,
  options: { framing?: AppFraming; resume?: boolean } = {},
  of = cluster,
): Promise<AppClient> {
  const client = await AppClient.open({ url: of.socketUrl(edge), token: bearer, ...options });
  clients.push(client);
  return client;
}

async function connect(edge: number, bearer: string, framing: AppFraming = "json"): Promise<AppClient> {
  const client = await open(edge, bearer, { framing });
  await client.welcome();
  return client;
}

const authenticate = (client: AppClient, bearer: string) =>
  client.request({
    $case: "authenticate",
    value: { token: bearer, deviceId: "", platform: "", userType: "", resumes: false, followOwn: false },
  });

async function revoke(of: Cluster, ...revocations: Json[]): Promise<void> {
  const withApp = revocations.map((each): Json => ({ app: of.app, ...each }));
  const { response } = await of.api().call("RevocationService", "Revoke", { revocations: withApp });
  const results = response["results"] as readonly { error: unknown }[];
  expect(results.filter(({ error }) => error !== null)).toEqual([]);
}

/** A user who lives on this fanout, seen from any edge. */
function userAt(fanout: string): string {
  for (;;) {
    const userId = `user-${randomUUID()}`;
    if (rendezvous(`${cluster.app}/${userId}`, FANOUTS)?.name === fanout) return userId;
  }
}

describe("a token on a live socket", () => {
  it.each(["json", "protobuf"] as const)(
    "that is refreshed keeps the socket, and moves its warning and its end (%s)",
    async (framing) => {
      const userId = randomUUID();
      const client = await connect(0, await token(userId, { ttlSeconds: 4 }), framing);
      const warned = await client.body("tokenExpiring");
      expect(warned.expiresInMs).toBeGreaterThan(WARNING_MS - 1000);
      expect(warned.expiresInMs).toBeLessThanOrEqual(WARNING_MS);
      const expiresAtMs = Math.floor(Date.now() / 1000 + 7) * 1000;
      const next = await token(userId, { ttlSeconds: 7 });
      expect(await authenticate(client, next)).toMatchObject({ $case: "reply" });
      // The first token's end passes, and the next one's warning comes.
      const warnings = () => client.frames.filter(({ body }) => body?.$case === "tokenExpiring").length;
      await client.until(() => (warnings() === 2 ? true : undefined), { what: "the second warning" });
      expect(expiresAtMs - Date.now()).toBeLessThan(WARNING_MS + 500);
      expect(client.closedWith).toBeUndefined();
      expect((await client.closed).code).toBe(CloseCode.TOKEN_EXPIRED);
      const lateMs = Date.now() - expiresAtMs;
      // Far from any heartbeat, and not before.
      expect(lateMs).toBeGreaterThanOrEqual(0);
      expect(lateMs).toBeLessThan(1500);
    },
  );

  it("of another user, app or role, or that is forged or over, is refused, and the session goes on", async () => {
    const userId = randomUUID();
    const client = await connect(1, await token(userId));
    const refused: readonly (readonly [string, ErrorCode])[] = [
      [await token(randomUUID()), ErrorCode.ERROR_CODE_PERMISSION_DENIED],
      [await token(userId, { app: "another" }), ErrorCode.ERROR_CODE_PERMISSION_DENIED],
      [await token(userId, { role: "admin" }), ErrorCode.ERROR_CODE_PERMISSION_DENIED],
      [`${(await token(userId)).slice(0, -8)}AAAAAAAA`, ErrorCode.ERROR_CODE_UNAUTHENTICATED],
      [await token(userId, { issuedAtMs: Date.now() - 7_200_000 }), ErrorCode.ERROR_CODE_EXPIRED],
      ["", ErrorCode.ERROR_CODE_INVALID_ARGUMENT],
    ];
    for (const [bearer, code] of refused) {
      expect(await authenticate(client, bearer)).toMatchObject({ $case: "error", value: { code } });
    }
    const pong = await client.request({ $case: "ping", value: { clientTimeMs: 0 } });
    expect([pong.$case, client.closedWith]).toEqual(["pong", undefined]);
  });

  it("goes with the session to another home", async () => {
    const userId = userAt("fanout-1");
    const client = await connect(0, await token(userId, { ttlSeconds: 600, tokenId: randomUUID() }));
    const tokenId = randomUUID();
    await authenticate(client, await token(userId, { tokenId }));
    await cluster.fanouts[1]?.kill();
    const answer = await client.request({ $case: "ping", value: { clientTimeMs: 0 } });
    expect(answer.$case).toBe("pong");
    await revoke(cluster, { token_id: tokenId });
    expect((await client.closed).code).toBe(CloseCode.TOKEN_REVOKED);
    await cluster.startFanout(1);
    await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 2), {
      what: "all links",
      timeoutMs: 15_000,
    });
  });
});

describe("a revocation", () => {
  /** Sockets of many users on both edges, who live on both fanouts. */
  async function crowd(count: number) {
    return Promise.all(
      Array.from({ length: count }, async (_, index) => {
        const userId = userAt(`fanout-${index % 2}`);
        const tokenId = randomUUID();
        const bearer = await token(userId, { tokenId, issuedAtMs: Date.now() - 10_000 });
        const client = await connect(
          Math.floor(index / 2) % 2,
          bearer,
          index % 3 === 0 ? "protobuf" : "json",
        );
        return { userId, tokenId, bearer, client };
      }),
    );
  }

  const SUBJECTS: readonly (readonly [string, (member: { userId: string; tokenId: string }) => Json])[] = [
    ["by token id", ({ tokenId }) => ({ token_id: tokenId })],
    ["by user", ({ userId }) => ({ user_id: userId })],
    ["by issue time", ({ userId }) => ({ user_id: userId, issued_before_ms: Date.now() - 5000 })],
  ];

  it.each(SUBJECTS)(
    "%s takes effect on live sockets everywhere within 2 s, and on handshakes",
    async (_, of) => {
      const members = await crowd(24);
      const spared = await connect(0, await token(randomUUID(), { tokenId: randomUUID() }));
      const startedAtMs = performance.now();
      const closing = members.map(async ({ client }) => {
        const { code } = await client.closed;
        return { code, afterMs: performance.now() - startedAtMs };
      });
      await revoke(cluster, ...members.map(of));
      const ends = await Promise.all(closing);
      expect(new Set(ends.map(({ code }) => code))).toEqual(new Set([CloseCode.TOKEN_REVOKED]));
      const slowestMs = Math.max(...ends.map(({ afterMs }) => afterMs));
      expect(slowestMs).toBeLessThan(2000);

      for (const [index, { bearer }] of members.slice(0, 4).entries()) {
        const client = await open(index % 2, bearer);
        expect((await client.closed).code).toBe(CloseCode.TOKEN_REVOKED);
        expect(client.frames).toMatchObject([
          { body: { $case: "error", value: { code: ErrorCode.ERROR_CODE_UNAUTHENTICATED } } },
        ]);
      }
      expect(spared.closedWith).toBeUndefined();
    },
  );

  it("spares what the user gets next, which continues the session; a resume with the old token is refused", async () => {
    const [userId, tokenId] = [randomUUID(), randomUUID()];
    const old = await token(userId, { tokenId, issuedAtMs: Date.now() - 10_000 });
    const first = await connect(0, old);
    const { resumeToken, sessionId } = await first.welcome();
    await revoke(cluster, { user_id: userId, issued_before_ms: Date.now() - 5000 });
    expect((await first.closed).code).toBe(CloseCode.TOKEN_REVOKED);
    const resume = async (bearer: string): Promise<AppClient> => {
      const client = await open(1, bearer, { resume: true });
      client.send({ $case: "resume", value: { resumeToken, positions: {} } });
      return client;
    };
    const refused = await resume(old);
    expect((await refused.closed).code).toBe(CloseCode.TOKEN_REVOKED);
    expect(refused.frames.map(({ body }) => body?.$case)).toEqual(["error"]);
    const next = await resume(await token(userId));
    expect(await next.welcome()).toMatchObject({ resumed: true, sessionId });
  });

  it("keeps a socket from going on with a revoked token", async () => {
    const [userId, tokenId] = [randomUUID(), randomUUID()];
    const client = await connect(0, await token(userId, { tokenId: randomUUID() }));
    await revoke(cluster, { token_id: tokenId });
    await waitFor(
      async () => {
        const answer = await authenticate(client, await token(userId, { tokenId }));
        return answer.$case === "error" && answer.value.code === ErrorCode.ERROR_CODE_UNAUTHENTICATED;
      },
      { what: "a refusal", timeoutMs: 2000 },
    );
    expect(client.closedWith).toBeUndefined();
  });
});

describe("sessions of one user beyond the limit", () => {
  it("close the oldest, over two fanouts that share the user", async () => {
    const userId = randomUUID();
    // Each of these edges knows one fanout only: the user has two homes.
    for (const [edge, fanout] of cluster.fanouts.entries()) {
      await cluster.startEdge(2 + edge, { FANOUT_ADDRS: `127.0.0.1:${fanout.port("LINK_PORT")}` });
    }
    const opened: AppClient[] = [];
    for (let index = 0; index < MAX_SESSIONS + 2; index += 1) {
      opened.push(await connect(2 + (index % 2), await token(userId)));
    }
    const ends = await Promise.all(opened.slice(0, 2).map((client) => client.closed));
    expect(ends.map(({ code }) => code)).toEqual([CloseCode.SESSION_LIMIT, CloseCode.SESSION_LIMIT]);
    const listed = async (): Promise<unknown> => {
      const asked = { app: cluster.app, user_id: userId };
      return (await cluster.api().call("ConnectionService", "ListConnections", asked)).response[
        "connections"
      ];
    };
    // A client hears its close before its home does.
    await vi.waitFor(async () => expect(await listed()).toHaveLength(MAX_SESSIONS), { timeout: 10_000 });
    for (const client of opened.slice(2)) expect(client.closedWith).toBeUndefined();
  });

  it("can be listed and ended by the user", async () => {
    const userId = randomUUID();
    const phone = await connect(0, await token(userId, { tokenId: randomUUID() }));
    const lost = await token(userId, { tokenId: randomUUID() });
    const tablet = await connect(1, lost);
    const { sessionId } = await tablet.welcome();
    const list = await phone.request({ $case: "listDevices", value: {} });
    if (list.$case !== "deviceList") throw new Error(`a list of devices, not ${list.$case}`);
    expect(list.value.devices.map(({ isCurrent }) => isCurrent)).toEqual([true, false]);
    expect(list.value.devices[1]).toMatchObject({ sessionId });
    expect(await phone.request({ $case: "endDevice", value: { sessionId } })).toMatchObject({
      $case: "reply",
    });
    expect([CloseCode.KICKED, CloseCode.TOKEN_REVOKED]).toContain((await tablet.closed).code);
    expect((await (await open(1, lost)).closed).code).toBe(CloseCode.TOKEN_REVOKED);
    expect(phone.closedWith).toBeUndefined();
  });
});

it("who has no token follows public channels and no others", async () => {
  const client = await AppClient.open({ url: cluster.socketUrl(0) });
  clients.push(client);
  const value = { token: "", deviceId: "", platform: "", userType: "", resumes: false, followOwn: false };
  const welcome = await client.request({ $case: "authenticate", value });
  expect(welcome).toMatchObject({ $case: "welcome", value: { role: "anonymous", resumeToken: "" } });
  await client.subscribe("public:news");
  await expect(client.subscribe("order:42")).rejects.toThrow("order:42");
  const event = { custom: { type: "headline", data: {} } };
  await cluster.api().publish([{ app: cluster.app, channel: "public:news", event }]);
  // Without an app of its own nobody is of the default one.
  await cluster.api().publish([{ channel: "public:news", event }]);
  await client.until(() => client.eventsOf("public:news", "custom")[0], { what: "the headline" });
  expect(client.eventsOf("public:news")).toHaveLength(1);
});

it("revocations outlive every fanout, and come back from Kafka where Redis was emptied", async () => {
  const redis = await startRedis();
  const alone = await Cluster.start({ edges: 1, fanouts: 1, redisUrl: redis.url });
  try {
    const [userId, tokenId] = [randomUUID(), randomUUID()];
    const bearer = await token(userId, { tokenId }, alone);
    await revoke(alone, { token_id: tokenId }, { user_id: `${userId}-2` });
    const metric = (name: string): Promise<number> => {
      const [fanout] = alone.fanouts;
      if (fanout === undefined) throw new Error("there is no fanout");
      return alone.metric(fanout, name);
    };
    await waitFor(
      async () =>
        (await metric("realtime_revocations")) === 2 && (await metric("realtime_revocations_unlogged")) === 0,
      { what: "Kafka to have them", timeoutMs: 20_000 },
    );
    const restart = async (): Promise<void> => {
      await alone.startFanout(0);
      await waitFor(async () => (await alone.readyLinks())[0] === 1, { what: "a link", timeoutMs: 15_000 });
    };
    await alone.fanouts[0]?.kill();
    await restart();
    expect((await (await open(0, bearer, {}, alone)).closed).code).toBe(CloseCode.TOKEN_REVOKED);

    await alone.fanouts[0]?.kill();
    const client = new Redis(redis.url);
    await client.flushall();
    client.disconnect();
    await restart();
    // Whoever got in before the topic was read is closed when it is.
    expect((await (await open(0, bearer, {}, alone)).closed).code).toBe(CloseCode.TOKEN_REVOKED);
    await waitFor(async () => (await metric("realtime_revocations")) === 2, { what: "all of them" });
  } finally {
    await alone.stop();
    await redis.kill();
  }
});
