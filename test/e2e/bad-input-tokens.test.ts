import { createSecretKey, randomUUID } from "node:crypto";
import { exportSPKI, SignJWT } from "jose";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { AppClient, type AppClientOptions, type AppFraming } from "#test/support/app-client.js";
import { JwksProvider, ProviderKey } from "#test/support/jwks-provider.js";
import { Cluster } from "./cluster.js";
import { ProcessMemory } from "./process-memory.js";
import { Witness } from "./witness.js";

const memory = new ProcessMemory();
let provider: JwksProvider;
let rsaKey: ProviderKey;
let cluster: Cluster;
let witness: Witness;
/** Every token that was shown; none may be in a log. */
const shown: string[] = [];
const sessionIds: string[] = [];

beforeAll(async () => {
  provider = await JwksProvider.start();
  rsaKey = await ProviderKey.generate("RS256", "known");
  provider.keys = [rsaKey.publicJwk];
  cluster = await Cluster.start({
    edges: 2,
    fanouts: 1,
    env: {
      ...memory.env,
      JWT_JWKS_URL: provider.url,
      FIRST_FRAME_DEADLINE: "1s",
      LOG_LEVEL: "trace",
    },
  });
  witness = await Witness.start(cluster, { follower: 0, porter: 1 });
});

afterAll(async () => {
  await witness.stop();
  await cluster.stop();
  await provider.close();
  memory.remove();
});

const now = (): number => Math.floor(Date.now() / 1000);

function payload(user = "mallory"): Record<string, unknown> {
  return { sub: user, role: "admin", app: cluster.app, exp: now() + 3600, marker: randomUUID() };
}

function signedWith(secret: string | Uint8Array, claims = payload(), header: object = {}): Promise<string> {
  const key = createSecretKey(Buffer.from(secret));
  return new SignJWT(claims).setProtectedHeader({ alg: "HS256", ...header }).sign(key);
}

function unsigned(header: object): string {
  const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${part(header)}.${part(payload())}.`;
}

interface BadToken {
  readonly what: string;
  readonly make: () => string | Promise<string>;
  readonly code?: ErrorCode;
  readonly closeCode?: CloseCode;
}

const BAD_TOKENS: readonly BadToken[] = [
  {
    what: "expired",
    make: () => signedWith(cluster.jwtSecret, { ...payload(), exp: now() - 60 }),
    code: ErrorCode.ERROR_CODE_EXPIRED,
    closeCode: CloseCode.TOKEN_EXPIRED,
  },
  { what: "signed with another secret", make: () => signedWith("another-secret-of-thirty-two-bytes!!") },
  { what: "alg: none", make: () => unsigned({ alg: "none", typ: "JWT" }) },
  { what: "alg: nOnE", make: () => unsigned({ alg: "nOnE" }) },
  { what: "HS256 claimed without a signature", make: () => unsigned({ alg: "HS256" }) },
  {
    what: "HS256 signed with the provider's public key",
    make: async () => signedWith(await exportSPKI(rsaKey.publicKey), payload(), { kid: "known" }),
  },
  {
    what: "of a key id that the provider does not have",
    make: async () => (await ProviderKey.generate("RS256", "unknown")).sign(payload()),
  },
  {
    what: "of a foreign key under a known key id",
    make: async () => (await ProviderKey.generate("RS256", "known")).sign(payload()),
  },
  {
    what: "for a user whose id would steer a key",
    make: () => signedWith(cluster.jwtSecret, payload("a:{b}")),
  },
  { what: "without a user", make: () => signedWith(cluster.jwtSecret, { ...payload(), sub: undefined }) },
  { what: "no token at all", make: () => `marker-${randomUUID()}` },
  { what: "too long", make: () => `${"x".repeat(9_000)}.${randomUUID()}.x` },
];

type Way = "header" | "query" | "frame";
const WAYS: readonly Way[] = ["header", "query", "frame"];
const FRAMINGS: readonly AppFraming[] = ["json", "protobuf"];

/** Shows a token, and leaves what comes of it to the caller. */
async function show(token: string, way: Way, framing: AppFraming): Promise<AppClient> {
  shown.push(token);
  const options: AppClientOptions = { url: cluster.socketUrl(0), framing };
  if (way === "header") return AppClient.open({ ...options, token });
  if (way === "query") return AppClient.open({ ...options, query: { token } });
  const client = await AppClient.open(options);
  client.send(
    {
      $case: "authenticate",
      value: { token, deviceId: "d1", platform: "", userType: "", resumes: false, followOwn: false },
    },
    { id: 5 },
  );
  return client;
}

describe("a token that is not to be trusted", () => {
  describe.each(BAD_TOKENS)("$what", ({ make, code, closeCode }) => {
    it.each(WAYS)("is told in a frame and by the close code, shown in the %s", async (way) => {
      for (const framing of FRAMINGS) {
        const client = await show(await make(), way, framing);
        const error = await client.body("error");
        expect(error.code).toBe(code ?? ErrorCode.ERROR_CODE_UNAUTHENTICATED);
        expect(await client.closed).toMatchObject({ code: closeCode ?? CloseCode.UNAUTHENTICATED });
        expect(client.frames).toHaveLength(1);
        expect(client.frames[0]?.replyTo).toBe(way === "frame" ? 5 : 0);
      }
    });
  });

  it("does not come in by a second try on the same socket", async () => {
    const client = await show(await signedWith("another-secret-of-thirty-two-bytes!!"), "frame", "json");
    const token = await cluster.token("late", "customer");
    client.send({
      $case: "authenticate",
      value: { token, deviceId: "", platform: "", userType: "", resumes: false, followOwn: false },
    });
    expect(await client.closed).toMatchObject({ code: CloseCode.UNAUTHENTICATED });
    expect(client.frames.map(({ body }) => body?.$case)).toEqual(["error"]);
  });
});

describe("a token that is good", () => {
  it.each(WAYS)("opens a session, shown in the %s, also signed by the provider", async (way) => {
    for (const framing of FRAMINGS) {
      for (const token of [
        await cluster.token("alice", "customer"),
        await rsaKey.sign({ ...payload("alice"), role: "customer" }),
      ]) {
        const client = await show(token, way, framing);
        const welcome = await client.welcome();
        sessionIds.push(welcome.sessionId);
        expect(welcome.userId).toBe("alice");
        expect(client.frames[0]?.replyTo).toBe(way === "frame" ? 5 : 0);
        await client.close();
      }
    }
  });

  it("counts in the header before the one in the query", async () => {
    const good = await cluster.token("alice", "customer");
    const client = await AppClient.connect({
      url: cluster.socketUrl(0),
      token: good,
      query: { token: "bad" },
    });
    expect((await client.welcome()).userId).toBe("alice");
    await client.close();
  });

  it("of another user in an authenticate frame on a live socket is refused, and changes nothing", async () => {
    const client = await cluster.connect(0, "alice", "customer");
    const token = await cluster.token("bob", "admin");
    shown.push(token);
    const answer = await client.request({
      $case: "authenticate",
      value: { token, deviceId: "", platform: "", userType: "", resumes: false, followOwn: false },
    });
    expect(answer).toMatchObject({ $case: "error", value: { code: ErrorCode.ERROR_CODE_PERMISSION_DENIED } });
    await expect(client.subscribe("user:bob")).rejects.toThrow(/"code":2/);
    await client.close();
  });
});

describe("no token", () => {
  it("closes the socket at the deadline of the first frame", async () => {
    for (const framing of FRAMINGS) {
      const client = await AppClient.open({ url: cluster.socketUrl(0), framing });
      expect(await client.closed).toMatchObject({ code: CloseCode.AUTHENTICATION_TIMEOUT });
    }
  });

  it("and another first frame than authenticate: unauthenticated", async () => {
    for (const framing of FRAMINGS) {
      const client = await AppClient.open({ url: cluster.socketUrl(0), framing });
      const answer = await client.request({
        $case: "subscribe",
        value: { channel: "order:1", after: undefined },
      });
      expect(answer).toMatchObject({ $case: "error", value: { code: ErrorCode.ERROR_CODE_UNAUTHENTICATED } });
      expect(await client.closed).toMatchObject({ code: CloseCode.UNAUTHENTICATED });
    }
  });
});

describe("after all this", () => {
  it("no other socket noticed, and no process ended", async () => {
    await witness.check();
    for (const service of [...cluster.edges, ...cluster.fanouts]) service.process.assertRunning();
  });

  it("no token is in any process's log, nor a part of one, nor a session id", () => {
    const secrets = [
      ...sessionIds,
      cluster.jwtSecret,
      ...shown.flatMap((token) => token.split(".")).filter((part) => part.length > 60),
      ...shown.filter((token) => token.startsWith("marker-")),
    ];
    for (const service of [...cluster.edges, ...cluster.fanouts]) {
      expect(service.process.output.length).toBeGreaterThan(0);
      const log = service.process.output.join("\n");
      expect(secrets.filter((secret) => log.includes(secret))).toEqual([]);
    }
  });

  it("no token is in any process's memory: neither the request nor its URL is kept with a socket", async () => {
    const token = await cluster.token("kept", "customer");
    const deviceId = `device-${randomUUID()}`;
    const alive = await Promise.all([
      AppClient.connect({ url: cluster.socketUrl(0), token }),
      AppClient.connect({ url: cluster.socketUrl(0), query: { token, deviceId } }),
      show(token, "frame", "json").then(async (client) => {
        await client.welcome();
        return client;
      }),
    ]);
    const signatures = [...shown, token]
      .map((each) => each.split(".")[2] ?? "")
      .filter((part) => part.length > 30);
    for (const service of [...cluster.edges, ...cluster.fanouts]) {
      const { textsAlive } = await memory.measure(service, [...signatures, deviceId]);
      // What is kept of the handshake proves that the search finds what is there.
      expect(textsAlive).toEqual(service === cluster.edges[1] ? [] : [deviceId]);
    }
    await Promise.all(alive.map((client) => client.close()));
  });
});
