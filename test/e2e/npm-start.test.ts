/**
 * `npm start` as a newcomer meets it: on a clone that has nothing installed or built, without Redis and
 * Kafka. What it prints must work as printed, and the one process must do the main way.
 */
import { execFileSync } from "node:child_process";
import { randomUUID } from "node:crypto";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ALL_VARIABLES } from "#services/config/schema.js";
import { ApiClient } from "#test/contract/api-client.js";
import { AppClient, type AppFraming } from "#test/support/app-client.js";
import { freePorts } from "#test/support/free-port.js";
import { GuardedProcess } from "#test/support/guarded-process.js";
import { temporaryFolder } from "#test/support/reaper.js";
import { waitFor, within } from "#test/support/wait-for.js";

const CHECKOUT = fileURLToPath(new URL("../..", import.meta.url));
const LOCATIONS = 100;
type Ports = Record<"PORT" | "METRICS_PORT" | "API_PORT" | "HTTP_PORT", number>;

let clone: string;
let gateway: GuardedProcess;
let ports: Ports;
const clients: AppClient[] = [];
let api: ApiClient;

beforeAll(async () => {
  clone = cloneOfCheckout();
  ports = await freePorts("PORT", "METRICS_PORT", "API_PORT", "HTTP_PORT");
  gateway = await startGateway(ports, 170_000);
  api = new ApiClient({
    address: `127.0.0.1:${ports.API_PORT}`,
    credentials: credentials.createInsecure(),
  });
}, 180_000);

afterAll(async () => {
  api.close();
  for (const client of clients) client.websocket.terminate();
  await gateway.kill();
});

/** What git would bring: every file that is tracked, or is to be; nothing that is ignored. */
function cloneOfCheckout(): string {
  const folder = temporaryFolder("clone");
  const listed = execFileSync("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], {
    cwd: CHECKOUT,
    encoding: "utf8",
    maxBuffer: 16 * 1024 * 1024,
  });
  for (const path of listed.split("\0")) {
    const source = join(CHECKOUT, path);
    // A file that is tracked still and deleted already.
    if (path !== "" && existsSync(source)) cpSync(source, join(folder, path));
  }
  return folder;
}

/** A newcomer's environment: none of our variables but the ports. */
function environment(own: Ports): Record<string, string> {
  const ours = new Set(ALL_VARIABLES.map(({ name }) => name));
  const inherited = Object.entries(process.env).flatMap(([name, value]) =>
    value === undefined || ours.has(name) ? [] : [[name, value] as const],
  );
  const given = Object.entries(own).map(([name, port]) => [name, String(port)] as const);
  return {
    ...Object.fromEntries([...inherited, ...given]),
    HOST: "127.0.0.1",
    npm_config_prefer_offline: "true",
  };
}

function npmStart(own: Ports): GuardedProcess {
  return new GuardedProcess({
    name: "npm start",
    command: "npm",
    args: ["start"],
    env: environment(own),
    cwd: clone,
    hasChildren: true,
  });
}

async function startGateway(own: Ports, timeoutMs: number): Promise<GuardedProcess> {
  const started = npmStart(own);
  const isReady = async (): Promise<boolean> => {
    if (started.exit !== undefined) return true;
    // What it prints comes when it is ready, and may be read a moment later.
    const isReady = (await fetch(`http://127.0.0.1:${own.PORT}/ready`)).status === 200;
    return isReady && started.output.some((line) => line.includes('"subscribe"'));
  };
  await waitFor(isReady, { what: "npm start to be ready", timeoutMs, pollMs: 100 }).catch(
    async (error: unknown) => {
      await started.kill();
      throw new Error(`${String(error)}\n${started.tail()}`, { cause: error });
    },
  );
  started.assertRunning();
  return started;
}

/** The token that was printed for a role. */
function tokenOf(role: string): string {
  const line = gateway.output.find((printed) => printed.startsWith(`  ${role} `));
  const token = line?.trim().split(/\s+/)[1];
  if (token === undefined) throw new Error(`no token for ${role} was printed:\n${gateway.tail()}`);
  return token;
}

async function connect(role: string, framing: AppFraming): Promise<AppClient> {
  const url = `ws://127.0.0.1:${ports.PORT}/ws`;
  const client = await AppClient.connect({ url, token: tokenOf(role), framing });
  clients.push(client);
  return client;
}

async function grant(orderId: string): Promise<string> {
  const channel = `order:${orderId}`;
  const { response } = await api.call("ParticipationService", "Grant", {
    participations: [
      { channel, user_id: "demo-customer", relation: "RELATION_OWNER" },
      { channel, user_id: "demo-porter", relation: "RELATION_ASSIGNED" },
    ],
  });
  expect(response["results"]).toEqual([
    expect.objectContaining({ error: null }),
    expect.objectContaining({ error: null }),
  ]);
  return channel;
}

async function metric(name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${ports.METRICS_PORT}/metrics`)).text();
  return Number(new RegExp(`^${name} (\\S+)$`, "m").exec(text)?.[1]);
}

describe("npm start on a clone without Redis and Kafka", () => {
  it("prints the URLs, where state is, and a token for each role", async () => {
    const printed = gateway.output.join("\n");
    for (const url of [
      `ws://localhost:${ports.PORT}/ws`,
      `http://localhost:${ports.PORT}/health`,
      `http://localhost:${ports.METRICS_PORT}/metrics`,
      `localhost:${ports.API_PORT}`,
    ]) {
      expect(printed).toContain(url);
    }
    for (const path of [`${ports.PORT}/health`, `${ports.METRICS_PORT}/metrics`]) {
      expect((await fetch(`http://localhost:${path}`)).status).toBe(200);
    }
    expect(printed).toMatch(/state +in this process/);
    expect(printed).toMatch(/events +in this process/);
    for (const role of ["customer", "porter", "merchant", "admin"]) {
      expect((await (await connect(role, "json")).welcome()).role).toBe(role);
    }
  });

  it("prints a line that, pasted as it is, shows a location arriving", async () => {
    const line = gateway.output.find((printed) => printed.includes("node examples/watch-order.mjs"));
    if (line === undefined) throw new Error(`there is no line to paste:\n${gateway.tail()}`);
    const pasted = new GuardedProcess({
      name: "the pasted line",
      command: "sh",
      args: ["-c", line],
      env: { PATH: process.env["PATH"] ?? "" },
      cwd: clone,
      hasChildren: true,
    });
    try {
      const { code } = await within(pasted.exited, 30_000);
      expect(pasted.output.join("\n")).toMatch(/customer +sees demo-porter at 52\.\d+, 13\.\d+ \(5 of 5\)/);
      expect(code).toBe(0);
    } finally {
      await pasted.kill();
    }
  });

  it("brings a porter's locations to customer and admin in order, to no third user, and one in ten to the bus", async () => {
    const channel = await grant(randomUUID());
    const sampledBefore = await metric("realtime_locations_sampled_total");
    const customer = await connect("customer", "json");
    const admin = await connect("admin", "protobuf");
    const third = await connect("merchant", "json");
    const porter = await connect("porter", "protobuf");
    await customer.subscribe(channel);
    await admin.subscribe(channel);
    await expect(third.subscribe(channel)).rejects.toThrow(/"code":2/);
    const sent = Array.from({ length: LOCATIONS }, (_, index) => index / 2);
    for (const latitude of sent) {
      const value = { latitude, longitude: 2, timestampMs: 0, orderId: "" };
      expect((await porter.request({ $case: "locationUpdate", value })).$case).toBe("reply");
    }
    for (const follower of [customer, admin]) {
      const seen = () =>
        follower
          .eventsOf(channel, "location")
          .map(({ body }) => (body?.$case === "location" ? body.value.latitude : -1));
      await follower.until(() => (seen().at(-1) === sent.at(-1) ? true : undefined), {
        what: "the newest location",
      });
      expect(seen()).toEqual(sent);
      expect(new Set(follower.events.map((event) => event.channel))).toEqual(new Set([channel]));
    }
    expect(third.events).toEqual([]);
    expect((await metric("realtime_locations_sampled_total")) - sampledBefore).toBe(LOCATIONS / 10);
  });

  it("brings what a backend publishes to every follower once, though it was published twice", async () => {
    const orderId = randomUUID();
    const channel = await grant(orderId);
    const customer = await connect("customer", "protobuf");
    const admin = await connect("admin", "json");
    await customer.subscribe(channel);
    await admin.subscribe(channel);
    const item = (status: string) => ({
      channel,
      idempotency_key: `${orderId}-${status}`,
      event: { order_status: { order_id: orderId, status }, correlation_id: `correlation-${orderId}` },
    });
    const first = await api.publish([item("picked_up"), item("picked_up")]);
    const second = await api.publish([item("picked_up"), item("delivered")]);
    const outcomes = [...results(first.response), ...results(second.response)].map(({ outcome }) => outcome);
    expect(outcomes.map((outcome) => String(outcome).replace("PUBLISH_OUTCOME_", ""))).toEqual([
      "PUBLISHED",
      "REPEATED",
      "REPEATED",
      "PUBLISHED",
    ]);
    for (const follower of [customer, admin]) {
      const statuses = () =>
        follower
          .eventsOf(channel)
          .map(({ body }) => (body?.$case === "orderStatus" ? body.value.status : body?.$case));
      await follower.until(() => (statuses().includes("delivered") ? true : undefined), {
        what: "the last status",
      });
      expect(statuses()).toEqual(["picked_up", "delivered"]);
      const [event] = follower.eventsOf(channel);
      expect(event?.correlationId).toBe(`correlation-${orderId}`);
    }
  });

  it("fails on the same ports with one clear line", async () => {
    const second = npmStart(ports);
    try {
      expect((await within(second.exited, 30_000)).code).toBe(1);
      expect(second.output.filter((line) => line.startsWith("the start failed: "))).toEqual([
        expect.stringMatching(/: [A-Z_]*PORT: cannot listen on 127\.0\.0\.1:\d+: .*already in use/),
      ]);
      expect(second.output.filter((line) => line.startsWith("    at "))).toEqual([]);
    } finally {
      await second.kill();
    }
  });

  it("is ended by SIGTERM in order, with code 0, and leaves its ports free", async () => {
    const own = await freePorts("PORT", "METRICS_PORT", "API_PORT", "HTTP_PORT");
    const another = await startGateway(own, 30_000);
    expect(await another.stop(15_000)).toEqual({ code: 0, signal: null });
    expect(another.output.join("\n")).toContain('"the process has shut down"');
    await expect(fetch(`http://127.0.0.1:${own.PORT}/health`)).rejects.toThrow();
  });
});

function results(response: Readonly<Record<string, unknown>>): { readonly outcome: unknown }[] {
  return response["results"] as { readonly outcome: unknown }[];
}
