/** Rate limits over devices, edges, reconnects and dead fanouts: one bucket for each user, and no fresh one. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

/** Nothing comes back within a test; a lease holds 2. */
const LOCATIONS = 40;
const FLOOD = 30;
const FEW_REFUSALS = 3;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({
    env: {
      RATE_LIMIT_LOCATION: `${LOCATIONS}/1d`,
      RATE_LIMIT_GENERAL: "20/1d",
      // A driver's bucket drips ten times a second; a delivery partner has the product's default.
      RATE_LIMIT_ROLES: "driver.location=20/2s,delivery_partner.location=1000/60s",
      RATE_LIMIT_CLOSE_AFTER: `${FLOOD}/30s`,
    },
  });
});

afterAll(() => cluster.stop());

const LOCATION = {
  $case: "locationUpdate",
  value: { latitude: 1, longitude: 2, timestampMs: 0, orderId: "" },
} as const;

/** Sends up to so many locations, each when the one before is answered, and no more after a few refusals: how many are admitted. */
async function admitted(client: AppClient, atMost: number): Promise<number> {
  let count = 0;
  for (let sent = 0; sent < atMost && sent < count + FEW_REFUSALS; sent += 1)
    if ((await waitTold(client)) === 0) count += 1;
  return count;
}

/** Sends a location: 0, or the time to wait. */
async function waitTold(client: AppClient): Promise<number> {
  const answer = await client.request(LOCATION);
  if (answer.$case === "reply") return 0;
  if (answer.$case !== "error" || answer.value.code !== ErrorCode.ERROR_CODE_RATE_LIMITED)
    throw new Error(`a location was answered with ${JSON.stringify(answer)}`);
  return answer.value.retryAfterMs ?? 0;
}

/** Resolves when the session's present home answers. */
async function settled(client: AppClient): Promise<void> {
  expect(await client.request({ $case: "ping", value: { clientTimeMs: 1 } })).toMatchObject({
    $case: "pong",
  });
}

/** Of all fanouts. */
async function metric(name: string): Promise<number> {
  const values = await Promise.all(cluster.fanouts.map((fanout) => cluster.metric(fanout, name)));
  return values.reduce((sum, each) => sum + each, 0);
}

describe("a user's limit", () => {
  it("is one for devices on two edges, and nobody else's", async () => {
    const [first, second] = [
      await cluster.connect(0, "pair", "porter"),
      await cluster.connect(1, "pair", "porter", { framing: "protobuf" }),
    ];
    const [one, two] = await Promise.all([
      admitted(first, LOCATIONS / 2 + 3),
      admitted(second, LOCATIONS / 2 + 3),
    ]);
    expect(one + two).toBe(LOCATIONS);
    for (const device of [first, second]) expect(await waitTold(device)).toBeGreaterThan(60_000);
    const other = await cluster.connect(0, "other", "porter");
    expect(await admitted(other, LOCATIONS)).toBe(LOCATIONS);
    // Another class, and heartbeats, go on.
    expect(await first.request({ $case: "unsubscribe", value: { channel: "order:1" } })).toMatchObject({
      $case: "unsubscribed",
    });
    await settled(first);
    expect(await metric("realtime_rate_limited_total")).toBeGreaterThanOrEqual(2);
  });

  it("is not fresh after a reconnect, with or without a resume, on any edge", async () => {
    const before = await cluster.connect(0, "returning", "porter");
    expect(await admitted(before, LOCATIONS / 2)).toBe(LOCATIONS / 2);
    const { resumeToken } = await before.welcome();
    await before.close();
    const resumed = await AppClient.open({
      url: cluster.socketUrl(1),
      token: await cluster.token("returning", "porter"),
      resume: true,
    });
    resumed.send({ $case: "resume", value: { resumeToken, positions: {} } });
    expect((await resumed.welcome()).resumed).toBe(true);
    expect(await admitted(resumed, LOCATIONS / 4)).toBe(LOCATIONS / 4);
    await resumed.close();
    const again = await cluster.connect(0, "returning", "porter");
    expect(await admitted(again, LOCATIONS)).toBe(LOCATIONS / 4);
    await again.close();
    expect(await admitted(await cluster.connect(1, "returning", "porter"), 1)).toBe(0);
  });

  it("is not fresh after the fanout was killed, and is after it as it was before", async () => {
    const spent = await cluster.connect(0, "spent", "porter");
    const half = await cluster.connect(1, "half", "porter");
    expect(await admitted(spent, LOCATIONS + 1)).toBe(LOCATIONS);
    expect(await admitted(half, LOCATIONS / 2)).toBe(LOCATIONS / 2);
    for (const index of [0, 1]) {
      await cluster.fanouts[index]?.kill();
      // Its sessions live at the other one: what they send now came after they did.
      await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 1), {
        what: "the edges to notice the death",
        timeoutMs: 15_000,
      });
      await settled(spent);
      await settled(half);
      expect(await admitted(spent, 3)).toBe(0);
      await cluster.startFanout(index);
      await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 2), {
        what: "the edges to find it again",
        timeoutMs: 15_000,
      });
    }
    const rest = await admitted(half, LOCATIONS);
    // A lease of two tokens may have been lost with each fanout.
    expect(rest).toBeGreaterThanOrEqual(LOCATIONS / 2 - 4);
    expect(rest).toBeLessThanOrEqual(LOCATIONS / 2);
    for (const client of [spent, half]) expect(client.closedWith).toBeUndefined();
  });

  it("is there again when it was said to be", async () => {
    const driver = await cluster.connect(0, "patient", "driver");
    for (let round = 0; round < 3; round += 1) {
      let waitMs = 0;
      while (waitMs === 0) waitMs = await waitTold(driver);
      expect(waitMs).toBeLessThanOrEqual(200);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      expect(await waitTold(driver)).toBe(0);
    }
  });

  it("costs the store at most one call for 20 locations", async () => {
    const partner = await cluster.connect(0, "economical", "delivery_partner", { framing: "protobuf" });
    const calls = (): Promise<number> => metric('realtime_redis_hits_total{operation="draw-tokens"}');
    const before = await calls();
    expect(await admitted(partner, 400)).toBe(400);
    const cost = (await calls()) - before;
    expect(cost).toBeGreaterThan(0);
    expect(cost).toBeLessThanOrEqual(400 / 20);
  });
});

it("workers are told how often they may send", async () => {
  const hint = async (role: string): Promise<number> => {
    const client = await cluster.connect(0, `hinted-${role}`, role);
    return (await client.body("subscribed")).minSendIntervalMs;
  };
  expect([await hint("driver"), await hint("delivery_partner"), await hint("customer")]).toEqual([
    100, 60, 0,
  ]);
});

it("a socket that goes on flooding is closed to come back later; the user's other device and others stay", async () => {
  const flooding = await cluster.connect(0, "flood", "porter");
  const sibling = await cluster.connect(1, "flood", "porter");
  const other = await cluster.connect(0, "bystander", "porter");
  const floods = await metric("realtime_floods_closed_total");
  for (let sent = 0; sent < LOCATIONS + FLOOD; sent += 1) flooding.send(LOCATION);
  expect(await flooding.closed).toMatchObject({ code: CloseCode.OVERLOADED });
  const refusals = flooding.frames.filter(({ body }) => body?.$case === "error");
  expect(refusals).toHaveLength(FLOOD);
  expect(await admitted(sibling, 1)).toBe(0);
  expect(await admitted(other, LOCATIONS)).toBe(LOCATIONS);
  const back = await cluster.connect(0, "flood", "porter");
  expect(await admitted(back, 1)).toBe(0);
  for (const client of [sibling, other, back]) expect(client.closedWith).toBeUndefined();
  expect(await metric("realtime_floods_closed_total")).toBe(floods + 1);
});
