/** Redis killed and started again: what lives goes on, what needs the store is told when to come back. */
import { afterEach, expect, it } from "vitest";
import { rendezvous } from "#edge/link/rendezvous.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { AppClient } from "#test/support/app-client.js";
import { startRedis } from "#test/support/redis.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const FANOUTS = [{ name: "fanout-0" }, { name: "fanout-1" }];

/** A user who lives on this fanout. */
function userAt(cluster: Cluster, fanout: string, prefix: string): string {
  for (let index = 0; ; index += 1) {
    const userId = `${prefix}-${index}`;
    if (rendezvous(`${cluster.app}/${userId}`, FANOUTS)?.name === fanout) return userId;
  }
}

function location(latitude: number) {
  return { $case: "locationUpdate" as const, value: { latitude, longitude: 2, timestampMs: 0, orderId: "" } };
}

async function untilLocation(follower: AppClient, channel: string, latitude: number): Promise<void> {
  await follower.until(
    () =>
      follower
        .eventsOf(channel, "location")
        .find(({ body }) => body?.$case === "location" && body.value.latitude === latitude),
    { what: `location ${latitude}` },
  );
}

it("while Redis is away sockets and locations of one home go on, and all is well again after, without a reconnect", async () => {
  const args = ["--appendonly", "yes"];
  const redis = await startRedis({ args });
  cleanups.push(() => redis.kill());
  const cluster = await Cluster.start({ redisUrl: redis.url });
  cleanups.push(() => cluster.stop());
  const [porterId, nearId, farId] = [
    userAt(cluster, "fanout-0", "porter"),
    userAt(cluster, "fanout-0", "near"),
    userAt(cluster, "fanout-1", "far"),
  ];
  await cluster.grant("42", { [porterId]: "ASSIGNED", [nearId]: "OWNER", [farId]: "OWNER" });
  const porter = await cluster.connect(0, porterId, "porter", { framing: "protobuf" });
  const near = await cluster.connect(1, nearId, "customer");
  const far = await cluster.connect(0, farId, "customer", { framing: "protobuf" });
  for (const follower of [near, far]) await follower.subscribe("order:42");
  expect(await porter.request(location(1))).toMatchObject({ $case: "reply" });
  for (const follower of [near, far]) await untilLocation(follower, "order:42", 1);

  await redis.kill();
  expect(await porter.request(location(2))).toMatchObject({ $case: "reply" });
  await untilLocation(near, "order:42", 2);
  const refused = await near.request({
    $case: "subscribe",
    value: { channel: "order:43", after: undefined },
  });
  expect(refused).toMatchObject({ $case: "error", value: { code: ErrorCode.ERROR_CODE_UNAVAILABLE } });
  expect(refused.$case === "error" && refused.value.retryAfterMs).toBeGreaterThan(0);
  await waitFor(() => isRefused(cluster.connect(1, "newcomer", "customer")), { what: "503 for new sockets" });

  const again = await startRedis({ port: redis.port, folder: redis.folder, args });
  cleanups.push(() => again.kill());
  await waitFor(() => cluster.connect(1, "newcomer", "customer"), {
    what: "new sockets are welcome",
    timeoutMs: 15_000,
  });
  const newest = await waitFor(
    async () => {
      const latitude = 3 + porter.frames.length / 1000;
      await porter.request(location(latitude));
      await untilLocation(near, "order:42", latitude);
      return far.eventsOf("order:42", "location").some(({ body }) => latitudeOf(body) >= 3) && latitude;
    },
    { what: "a location at the other home", timeoutMs: 15_000 },
  );
  await untilLocation(far, "order:42", newest);
  await cluster.grant("43", { [nearId]: "OWNER" });
  // A fanout tries again on its own to follow what it could not; until then it says when to come back.
  await waitFor(() => near.subscribe("order:43"), { what: "the refused channel" });
  const status = { order_status: { order_id: "42", status: "delivered" } };
  await cluster.api(1).publish([{ app: cluster.app, channel: "order:42", event: status }]);
  for (const follower of [near, far]) {
    await follower.until(() => follower.eventsOf("order:42", "orderStatus").at(0), { what: "the status" });
    const latitudes = follower.eventsOf("order:42", "location").map(({ body }) => latitudeOf(body));
    expect(latitudes).toEqual([...latitudes].sort((left, right) => left - right));
  }
  for (const client of [porter, near, far]) expect(client.closedWith).toBeUndefined();
});

function latitudeOf(body: ReturnType<AppClient["eventsOf"]>[number]["body"]): number {
  return body?.$case === "location" ? body.value.latitude : Number.NaN;
}

/** Whether a handshake was answered with 503. */
async function isRefused(connecting: Promise<AppClient>): Promise<boolean> {
  try {
    await connecting;
    return false;
  } catch (error) {
    return String(error).includes("503");
  }
}
