/** Where workers are, as backends, admins and followers see it through two fanouts, and what is not passed on. */
import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { asJson, EventTopics } from "./event-topics.js";

const MAX_SPEED = 100;
const VIENNA = { latitude: 48.2082, longitude: 16.3738 };

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({
    env: {
      LOCATION_MAX_ACCURACY_METERS: "200",
      LOCATION_MAX_SPEED_METERS_PER_SECOND: String(MAX_SPEED),
    },
  });
});

afterAll(() => cluster.stop());

interface Sent {
  readonly north?: number;
  readonly accuracy?: number;
  readonly timestampMs?: number;
  readonly available?: boolean;
}

/** So many meters north of Vienna. */
async function send(worker: AppClient, { north = 0, timestampMs = 0, ...more }: Sent): Promise<void> {
  const value = { ...VIENNA, latitude: VIENNA.latitude + north / 111_195, timestampMs, orderId: "", ...more };
  expect(await worker.request({ $case: "locationUpdate", value })).toMatchObject({ $case: "reply" });
}

interface Found {
  readonly location: { readonly worker_id: string };
  readonly distance_meters: number;
}

async function findNearby(fanout: number, more: object = {}): Promise<readonly Found[]> {
  const request = { app: cluster.app, ...VIENNA, radius_meters: 5_000, ...more };
  const { response } = await cluster.api(fanout).call("LocationService", "FindNearby", request);
  return response["workers"] as readonly Found[];
}

function untilFound(fanout: number, ids: readonly string[], more: object = {}): Promise<readonly Found[]> {
  return waitFor(
    async () => {
      const found = await findNearby(fanout, more);
      return found.map(({ location }) => location.worker_id).join() === ids.join() && found;
    },
    { what: `${ids.join()} nearby` },
  );
}

describe("workers nearby", () => {
  it("are found through every fanout, where they are, and admins find them too", async () => {
    const near = await cluster.connect(0, "near", "porter");
    const nearer = await cluster.connect(1, "nearer", "driver");
    const far = await cluster.connect(1, "far", "porter");
    await send(near, { north: 2_000, available: true });
    await send(nearer, { north: -300, available: false });
    await send(far, { north: 6_000, available: true });

    for (const fanout of [0, 1]) {
      const [first, second] = await untilFound(fanout, ["nearer", "near"]);
      expect(Math.round(first?.distance_meters ?? 0)).toBe(300);
      expect(Math.round(second?.distance_meters ?? 0)).toBe(2_000);
    }
    await untilFound(0, ["near"], { available_only: true });
    await untilFound(1, ["near", "far"], { available_only: true, radius_meters: 10_000 });
    expect(await findNearby(0, { app: `${cluster.app}-other` })).toEqual([]);

    const nearby = {
      $case: "nearby" as const,
      value: { ...VIENNA, radiusMeters: 5_000, limit: 0, availableOnly: false, maxAgeMs: 0 },
    };
    for (const framing of ["json", "protobuf"] as const) {
      const admin = await cluster.connect(0, "boss", "admin", { framing });
      expect(await admin.request(nearby)).toMatchObject({
        $case: "nearbyPage",
        value: {
          workers: [
            { location: { workerId: "nearer" }, presence: { online: true, available: false } },
            { location: { workerId: "near" }, presence: { online: true, available: true } },
          ],
          truncated: false,
        },
      });
    }
    const customer = await cluster.connect(0, "curious", "customer");
    expect(await customer.request(nearby)).toMatchObject({ $case: "error", value: { code: 2 } });

    const { response } = await cluster.api(1).call("LocationService", "GetLocations", {
      app: cluster.app,
      worker_ids: ["far", "nobody"],
    });
    expect(response["locations"]).toMatchObject([
      { worker_id: "far", location: { worker_id: "far" } },
      { worker_id: "nobody", received_at_ms: 0 },
    ]);
    near.websocket.terminate();
    nearer.websocket.terminate();
    far.websocket.terminate();
  });
});

describe("locations that cannot be believed", () => {
  it("are answered and reach nobody; those after them do", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    await cluster.grant(orderId, { doubted: "ASSIGNED", owner: "OWNER" });
    const porter = await cluster.connect(0, "doubted", "porter");
    const customer = await cluster.connect(1, "owner", "customer");
    await customer.subscribe(channel);
    const nowMs = Date.now();
    const accuracies = () =>
      customer
        .eventsOf(channel, "location")
        .map(({ body }) => (body?.$case === "location" ? body.value.accuracy : undefined));

    await send(porter, { accuracy: 1, timestampMs: nowMs });
    // One at a time: of latest values the newest alone is promised.
    await customer.until(() => accuracies().includes(1) || undefined, { what: "the first" });
    await send(porter, { accuracy: 2, timestampMs: nowMs - 1 });
    await send(porter, { accuracy: 201, timestampMs: nowMs + 1 });
    await send(porter, { accuracy: 4, timestampMs: nowMs + 2, north: 10 * MAX_SPEED });
    await send(porter, { accuracy: 5, timestampMs: nowMs + 2_000, north: MAX_SPEED });
    await customer.until(() => accuracies().includes(5) || undefined, { what: "the last" });
    expect(accuracies()).toEqual([1, 5]);
    const dropped = await Promise.all(
      cluster.fanouts.map((fanout) => cluster.metric(fanout, "realtime_locations_dropped_total")),
    );
    expect(dropped.reduce((sum, each) => sum + each)).toBe(3);
  });
});

describe("an ETA", () => {
  it("comes from Kafka to followers, and to who follows later; an older one never replaces it", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    await cluster.grant(orderId, { waiting: "OWNER" });
    const customer = await cluster.connect(0, "waiting", "customer");
    await customer.subscribe(channel);
    const topics = await EventTopics.connect(inject("kafkaBrokers"));
    const eta = (etaSeconds: number, version: number) =>
      asJson({
        ...{ eventId: randomUUID(), type: "order.eta.updated", app: cluster.app, version },
        data: { orderId, etaSeconds, distanceMeters: 900 },
      });
    const marker = asJson({
      ...{ eventId: randomUUID(), type: "order.status.changed", app: cluster.app },
      data: { orderId, status: "near" },
    });
    try {
      await topics.write(cluster.topics.orders, 0, eta(300, 2), eta(600, 1), marker);
    } finally {
      await topics.close();
    }
    await customer.until(() => customer.eventsOf(channel, "orderStatus").length === 1 || undefined, {
      what: "the status behind the ETAs",
      timeoutMs: 20_000,
    });
    const etas = customer.eventsOf(channel, "eta").map(({ body }) => body?.value);
    expect(etas).toEqual([{ subjectId: orderId, seconds: 300, distanceMeters: 900 }]);
    const { latest } = await customer.subscribe(channel);
    expect(latest.map(({ body }) => body?.value)).toMatchObject([{ seconds: 300 }]);
  });
});
