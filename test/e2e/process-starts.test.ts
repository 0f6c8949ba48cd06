/** The processes from outside: what stops a start, what their commands say, and the tokens that they take. */
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, inject, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { AppClient } from "#test/support/app-client.js";
import { freePort } from "#test/support/free-port.js";
import { GuardedProcess } from "#test/support/guarded-process.js";
import { startService, type RunningService, type ServiceName } from "#test/support/process.js";
import { within } from "#test/support/wait-for.js";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const SECRET = "a-secret-of-more-than-thirty-two-bytes";
/** Enough to start each of them alone. */
const COMPLETE = { HOST: "127.0.0.1", JWT_SOCKET_SECRET: SECRET };
const EVERY_PROCESS: readonly ServiceName[] = ["edge", "fanout", "gateway"];

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Starts a process that must not come up; what it said before it ended. */
async function refused(name: ServiceName, env: Readonly<Record<string, string>>) {
  const service = await startService(name, { env, waitUntil: "started" });
  cleanups.push(() => service.kill());
  const { code } = await within(service.exited, 20_000);
  return { code, said: service.process.output.join("\n"), lines: service.process.output };
}

async function start(name: ServiceName, env: Readonly<Record<string, string>>): Promise<RunningService> {
  const service = await startService(name, { env });
  cleanups.push(() => service.kill());
  return service;
}

/** Runs a command of package.json to its end. */
async function npmRun(args: readonly string[], env: Readonly<Record<string, string>> = {}) {
  const command = new GuardedProcess({
    name: `npm run ${args.join(" ")}`,
    command: "npm",
    args: ["run", "--silent", ...args],
    env: { PATH: process.env["PATH"] ?? "", HOME: process.env["HOME"] ?? "", ...env },
    cwd: CHECKOUT,
    hasChildren: true,
  });
  cleanups.push(() => command.kill());
  const { code } = await within(command.exited, 50_000);
  return { code, said: command.output.join("\n"), lines: command.output };
}

describe("a start with a wrong configuration", () => {
  it.each<[ServiceName, Readonly<Record<string, string>>, readonly RegExp[]]>([
    [
      "edge",
      {
        PORT: "seventy",
        LOG_LEVEL: "loud",
        JWT_SOCKET_SECRET: "hunter2",
        FANOUT_ADDRS: "somewhere",
        TLS_ENABLED: "true",
      },
      [
        /PORT is "seventy" and must be a port, 0 to 65535/,
        /LOG_LEVEL is "loud" and must be one of trace, debug/,
        /JWT_SOCKET_SECRET must be at least 32 bytes/,
        /FANOUT_ADDRS is "somewhere" and must be a list host:port/,
        /TLS_ENABLED is true: TLS_KEY_FILE and TLS_CERT_FILE must be set/,
      ],
    ],
    [
      "fanout",
      { LINK_PORT: "-1", REDIS_URL: "http://:hunter2@x", FANOUT_ROLES: "serve,dance", LOCATION_TTL: "soon" },
      [
        /LINK_PORT is "-1" and must be a port/,
        /REDIS_URL must be .*redis:\/\//,
        /FANOUT_ROLES is "serve,dance" and must be a list out of serve, consume, relay/,
        /LOCATION_TTL is "soon" and must be .*1h/,
      ],
    ],
    [
      "gateway",
      { DRAIN_WINDOW: "30", CORS_ORIGIN: "app.example.com", REDIS_PASSWORD: "hunter2" },
      [
        /DRAIN_WINDOW is "30" and must be /,
        /CORS_ORIGIN must be \*, or a list of origins/,
        /REDIS_PASSWORD is set, but none of REDIS_URL, /,
      ],
    ],
  ])("of the %s lists every fault with its variable, and shows no secret", async (name, env, faults) => {
    const { code, said, lines } = await refused(name, env);
    expect(code).toBe(1);
    for (const fault of faults) expect(said).toMatch(fault);
    expect(lines.filter((line) => line.startsWith("  - "))).toHaveLength(faults.length);
    expect(said).not.toContain("hunter2");
    expect(said).not.toContain("    at ");
  });

  it.each<[string, ServiceName, Readonly<Record<string, string>>, string]>([
    ["an edge without a key for tokens", "edge", {}, "JWT_SOCKET_SECRET must be set"],
    [
      "an edge that has nothing to show to fanouts elsewhere",
      "edge",
      { JWT_SOCKET_SECRET: SECRET, FANOUT_ADDRS: "fanout.internal:50052" },
      "LINK_TOKEN must be set",
    ],
    [
      "a fanout whose link is open to the network",
      "fanout",
      { LINK_HOST: "0.0.0.0" },
      "LINK_TOKEN must be set",
    ],
    [
      "a fanout whose API is open to the network",
      "fanout",
      { API_HOST: "0.0.0.0" },
      "API_TOKENS must be set",
    ],
    [
      "a gateway in production without a key for tokens",
      "gateway",
      { NODE_ENV: "production" },
      "JWT_SOCKET_SECRET must be set",
    ],
  ])("%s is refused", async (_, name, env, fault) => {
    const { code, said } = await refused(name, env);
    expect(code).toBe(1);
    expect(said).toContain(fault);
  });

  it.each(EVERY_PROCESS)("%s with TEST_HOOKS in production is refused", async (name) => {
    const { code, said } = await refused(name, { ...COMPLETE, NODE_ENV: "production", TEST_HOOKS: "true" });
    expect(code).toBe(1);
    expect(said).toContain("TEST_HOOKS must be false in production");
  });

  it("is refused where somebody gives arguments instead of variables", async () => {
    const { code, said } = await npmRun(["start", "--", "--port", "4000"]);
    expect(code).toBe(1);
    expect(said).toContain("npm start takes no --port 4000");
    expect(said).not.toContain("is listening");
  });

  it("warns of a variable that is nearly one of ours, and starts", async () => {
    const gateway = await start("gateway", { ...COMPLETE, DRAIN_WINDWO: "1s" });
    expect(gateway.logs()).toContainEqual(
      expect.objectContaining({ level: "warn", message: expect.stringContaining("DRAIN_WINDOW") as string }),
    );
  });

  it.each(EVERY_PROCESS)("%s --help lists its variables and starts nothing", async (name) => {
    const { code, said } = await npmRun([name === "gateway" ? "start" : `start:${name}`, "--", "--help"]);
    expect(code).toBe(0);
    expect(said).toContain("Usage: npm ");
    const own = { edge: "FANOUT_ADDRS", fanout: "LINK_HOST", gateway: "CORS_ORIGIN" } as const;
    for (const variable of [own[name], "LOG_LEVEL", "METRICS_PORT"]) expect(said).toContain(`  ${variable} `);
    const others = { edge: "REDIS_URL", fanout: "CORS_ORIGIN", gateway: "LINK_TOKEN" } as const;
    expect(said).not.toContain(`  ${others[name]} `);
  });
});

describe("a start without what it was told to use", () => {
  it.each<ServiceName>(["fanout", "gateway"])(
    "ends the %s with the variable's name, for Redis and for Kafka, and never falls back",
    async (name) => {
      const redis = `redis://:hunter2@127.0.0.1:${await freePort()}`;
      const kafka = `127.0.0.1:${await freePort()}`;
      const [away, noKafka] = await Promise.all([
        refused(name, { ...COMPLETE, REDIS_URL: redis }),
        refused(name, { ...COMPLETE, REDIS_URL: inject("redisUrl"), KAFKA_BROKERS: kafka }),
      ]);
      expect(away.code).toBe(1);
      expect(away.lines.at(-1)).toMatch(/^the start failed: REDIS_URL: cannot use Redis at 127\.0\.0\.1:/);
      expect(away.said).not.toContain("hunter2");
      expect(noKafka.code).toBe(1);
      expect(noKafka.lines.at(-1)).toContain(`the start failed: KAFKA_BROKERS: none of ${kafka} could`);
      expect(noKafka.said).not.toContain("is listening");
    },
  );

  it.each<[ServiceName, string]>([
    ["edge", "PORT"],
    ["edge", "METRICS_PORT"],
    ["fanout", "API_PORT"],
    ["fanout", "LINK_PORT"],
    ["fanout", "HTTP_PORT"],
  ])("ends the %s where %s is taken, with one line that says so", async (name, variable) => {
    const port = await freePort();
    const holder = createServer();
    await new Promise<void>((resolve) => holder.listen(port, "127.0.0.1", resolve));
    cleanups.push(() => holder.close());
    const { code, lines } = await refused(name, { ...COMPLETE, [variable]: String(port) });
    expect(code).toBe(1);
    const told = lines.filter((line) => line.startsWith("the start failed: "));
    expect(told).toHaveLength(1);
    expect(told[0]).toMatch(
      new RegExp(`^the start failed: ${variable}: cannot listen on 127\\.0\\.0\\.1:${port}: `),
    );
  });
});

describe("npm run token", () => {
  it("prints a token that the edge accepts, with the user and role in it", async () => {
    const gateway = await start("gateway", COMPLETE);
    const url = `ws://127.0.0.1:${gateway.port("PORT")}/ws`;
    const made = await npmRun(["token", "--", "--sub", "u1", "--role", "porter"], {
      JWT_SOCKET_SECRET: SECRET,
    });
    expect(made.code).toBe(0);
    const [token = ""] = made.lines.slice(-1);
    const app = await AppClient.connect({ url, token });
    cleanups.push(() => app.close());
    expect(await app.welcome()).toMatchObject({ userId: "u1", role: "porter" });

    const foreign = await npmRun(["token", "--", "--sub", "u1"], { JWT_SECRET: SECRET.replace("a", "b") });
    const stranger = await AppClient.open({ url, token: foreign.lines.at(-1) ?? "" });
    expect((await stranger.closed).code).toBe(CloseCode.UNAUTHENTICATED);
  });

  it("says what is missing", async () => {
    const withoutUser = await npmRun(["token"], { JWT_SOCKET_SECRET: SECRET });
    expect(withoutUser).toMatchObject({ code: 2 });
    expect(withoutUser.said).toContain("--sub");
    const withoutSecret = await npmRun(["token", "--", "--sub", "u1"]);
    expect(withoutSecret).toMatchObject({ code: 2 });
    expect(withoutSecret.said).toContain("JWT_SOCKET_SECRET");
  });
});
