/** TLS at the edge's port, and mutual TLS on the link between edge and fanout. */
import { readFileSync } from "node:fs";
import { get } from "node:https";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { signToken } from "#services/token/sign-token.js";
import { AppClient } from "#test/support/app-client.js";
import { canMakeCertificates, makeAuthority, makeCertificate } from "#test/support/certificates.js";
import { startService, type RunningService, type ServiceOptions } from "#test/support/process.js";
import { temporaryFolder } from "#test/support/reaper.js";
import { waitFor } from "#test/support/wait-for.js";

const SECRET = "the-secret-of-the-tls-tests-0123456789";
const running: RunningService[] = [];
const clients: AppClient[] = [];
let folder: string;

const file = (name: string): string => join(folder, name);
const read = (name: string): string => readFileSync(file(name), "utf8");

afterEach(async () => {
  for (const client of clients.splice(0)) client.websocket.terminate();
  await Promise.all(running.splice(0).map((service) => service.kill()));
});

async function start(name: "edge" | "fanout", options: ServiceOptions): Promise<RunningService> {
  const env = { HOST: "127.0.0.1", ...options.env };
  const service = await startService(name, { ...options, env });
  running.push(service);
  return service;
}

async function connect(url: string): Promise<AppClient> {
  const token = await signToken(
    { sub: "u1", role: "customer", ttlSeconds: 600 },
    { ...DEFAULT_JWT_OPTIONS, secret: SECRET },
  );
  const client = await AppClient.connect({ url, token, certificateAuthority: read("ours.crt") });
  clients.push(client);
  return client;
}

/** The link's variables for one end that shows this certificate. */
const linkTls = (certificate: string, authority = "ours") => ({
  LINK_TLS_KEY_FILE: file(`${certificate}.key`),
  LINK_TLS_CERT_FILE: file(`${certificate}.crt`),
  LINK_TLS_CA_FILE: file(`${authority}.crt`),
});

const edgeOf = (fanout: RunningService, env: Readonly<Record<string, string>>) => ({
  JWT_SOCKET_SECRET: SECRET,
  FANOUT_ADDRS: `127.0.0.1:${fanout.port("LINK_PORT")}`,
  ...env,
});

/** The status of `/ready` over TLS; rejects where the certificate is not believed. */
function readyOverTls(edge: RunningService, certificateAuthority?: string): Promise<number | undefined> {
  const ca = certificateAuthority === undefined ? {} : { ca: certificateAuthority };
  return new Promise((resolve, reject) => {
    const request = get(
      `https://127.0.0.1:${edge.port("PORT")}/ready`,
      { ...ca, agent: false },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    request.on("error", reject);
  });
}

describe.skipIf(!canMakeCertificates())("TLS", () => {
  beforeAll(() => {
    folder = temporaryFolder("certificates");
    for (const authority of ["ours", "foreign"]) makeAuthority(folder, authority);
    for (const name of ["edge", "fanout"]) makeCertificate(folder, { name, authority: "ours" });
    makeCertificate(folder, { name: "named", authority: "ours", subjectAltName: "DNS:fanout.internal" });
    makeCertificate(folder, { name: "stranger", authority: "foreign" });
  });

  it("at the edge's port serves apps over wss and health over https, and nobody in plain text", async () => {
    const fanout = await start("fanout", {});
    const edge = await start("edge", {
      waitUntil: "started",
      env: edgeOf(fanout, {
        TLS_ENABLED: "true",
        TLS_KEY_FILE: file("edge.key"),
        TLS_CERT_FILE: file("edge.crt"),
      }),
    });
    await waitFor(async () => (await readyOverTls(edge, read("ours.crt"))) === 200, {
      what: "the edge to be ready over TLS",
      timeoutMs: 20_000,
    });
    const app = await connect(`wss://127.0.0.1:${edge.port("PORT")}/ws`);
    expect((await app.welcome()).userId).toBe("u1");
    expect((await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).$case).toBe("pong");
    await expect(readyOverTls(edge)).rejects.toThrow(/certificate/);
    await expect(connect(`ws://127.0.0.1:${edge.port("PORT")}/ws`)).rejects.toThrow();
    expect(edge.process.exit).toBeUndefined();
  });

  it("carries the link where both ends show certificates of one authority, and needs no token", async () => {
    const fanout = await start("fanout", { env: { LINK_HOST: "0.0.0.0", ...linkTls("fanout") } });
    const edge = await start("edge", { env: edgeOf(fanout, linkTls("edge")) });
    const app = await connect(`ws://127.0.0.1:${edge.port("PORT")}/ws`);
    expect((await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).$case).toBe("pong");
  });

  it("carries the link to a fanout that is reached by address and certified by name", async () => {
    const fanout = await start("fanout", { env: linkTls("named") });
    const env = { ...linkTls("edge"), LINK_TLS_SERVER_NAME: "fanout.internal" };
    const edge = await start("edge", { env: edgeOf(fanout, env) });
    const app = await connect(`ws://127.0.0.1:${edge.port("PORT")}/ws`);
    expect((await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).$case).toBe("pong");
  });

  it.each<[string, () => Readonly<Record<string, string>>]>([
    ["shows no certificate", () => ({ LINK_TLS_CA_FILE: file("ours.crt") })],
    ["shows one of another authority", () => linkTls("stranger")],
    ["speaks plain text", () => ({})],
    ["does not believe the fanout's certificate", () => linkTls("edge", "foreign")],
  ])("keeps an edge out that %s, and the edge says so", async (_, env) => {
    const fanout = await start("fanout", { env: linkTls("fanout") });
    const edge = await start("edge", { waitUntil: "listening", env: edgeOf(fanout, env()) });
    const told = await waitFor(
      () => edge.logs().find(({ message }) => String(message).startsWith("no link")),
      {
        what: "the edge to say that it has no link",
        timeoutMs: 15_000,
      },
    );
    expect(told).toMatchObject({ level: "warn", address: `127.0.0.1:${fanout.port("LINK_PORT")}` });
    const ready = await fetch(edge.url("PORT", "/ready"));
    expect(ready.status).toBe(503);
    expect(await ready.json()).toMatchObject({ reasons: ["no fanout can be reached"] });
    const metrics = await (await fetch(fanout.url("METRICS_PORT", "/metrics"))).text();
    expect(metrics).toMatch(/^realtime_links_accepted_total 0$/m);
  });
});
