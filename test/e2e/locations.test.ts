import { randomUUID } from "node:crypto";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
});

afterAll(async () => {
  await cluster.stop();
});

const LOCATIONS = 100;

function location(latitude: number, orderId = "") {
  return { $case: "locationUpdate" as const, value: { latitude, longitude: 2, timestampMs: 0, orderId } };
}

function latitudes(client: AppClient, channel: string): number[] {
  return client
    .eventsOf(channel, "location")
    .map(({ body }) => (body?.$case === "location" ? body.value.latitude : Number.NaN));
}

describe("a porter's locations", () => {
  it("reach followers on both edges and in both framings in order, nobody else, and one in ten Kafka", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    const foreign = `order:${randomUUID()}`;
    await cluster.grant(orderId, { customer: "OWNER", porter: "ASSIGNED" });
    await cluster.grant(foreign.slice("order:".length), { stranger: "OWNER" });
    const sampled = await sampledLocations();
    const customer = await cluster.connect(0, "customer", "customer", { framing: "json" });
    const admin = await cluster.connect(1, "boss", "admin", { framing: "protobuf" });
    const stranger = await cluster.connect(0, "stranger", "customer");
    const porter = await cluster.connect(1, "porter", "porter", { framing: "protobuf" });
    await customer.subscribe(channel);
    await admin.subscribe(channel);
    await stranger.subscribe(foreign);
    await expect(stranger.subscribe(channel)).rejects.toThrow(/"code":2/);

    for (let index = 1; index <= LOCATIONS; index += 1) {
      const answer = await porter.request(location(index / 2));
      expect(answer).toEqual({ $case: "reply", value: { position: undefined, id: "", timeMs: 0 } });
    }

    for (const follower of [customer, admin]) {
      await follower.until(() => (latitudes(follower, channel).at(-1) === LOCATIONS / 2 ? true : undefined), {
        what: `location ${LOCATIONS}`,
      });
      const seen = latitudes(follower, channel);
      expect(seen).toEqual([...seen].sort((left, right) => left - right));
      expect(new Set(follower.events.map((event) => event.channel))).toEqual(new Set([channel]));
    }
    expect(stranger.events).toEqual([]);
    expect(porter.events).toEqual([]);
    await waitFor(() => sampled.values.length >= LOCATIONS / 10, {
      what: "ten samples in Kafka",
      timeoutMs: 15_000,
    });
    expect(sampled.values.map(({ data }) => data["latitude"])).toEqual([
      5, 10, 15, 20, 25, 30, 35, 40, 45, 50,
    ]);
    await sampled.stop();
  });

  it("are there at once for who subscribes later, also where they came before the order was assigned", async () => {
    const first = randomUUID();
    await cluster.grant(first, { "late-porter": "ASSIGNED", "late-customer": "OWNER" });
    const porter = await cluster.connect(0, "late-porter", "porter");
    await porter.request(location(51.5));
    const customer = await cluster.connect(1, "late-customer", "customer");
    const subscribed = await customer.subscribe(`order:${first}`);
    expect(subscribed.latest.map(({ body }) => body?.$case === "location" && body.value.latitude)).toEqual([
      51.5,
    ]);

    const second = randomUUID();
    await cluster.grant(second, { "late-porter": "ASSIGNED", "late-customer": "OWNER" });
    const known = await waitFor(
      async () => {
        const [newest] = (await customer.subscribe(`order:${second}`)).latest;
        await customer.request({ $case: "unsubscribe", value: { channel: `order:${second}` } });
        return newest;
      },
      { what: "the last known location" },
    );
    expect(known.body?.$case === "location" && known.body.value.latitude).toBe(51.5);
  });

  it("are refused from who is no worker, and for an order that is not assigned", async () => {
    const customer = await cluster.connect(0, "curious", "customer");
    const porter = await cluster.connect(0, "unassigned", "porter");
    expect(await customer.request(location(1))).toMatchObject({ $case: "error", value: { code: 2 } });
    expect(await porter.request(location(1, randomUUID()))).toMatchObject({
      $case: "error",
      value: { code: 2 },
    });
  });

  it("reach one user's three devices three times, and no other user", async () => {
    const orderId = randomUUID();
    await cluster.grant(orderId, { owner: "OWNER", carrier: "ASSIGNED", other: "OWNER" });
    await cluster.api().call("ParticipationService", "End", {
      participations: [{ app: cluster.app, channel: `order:${orderId}`, user_id: "other" }],
    });
    const devices = await Promise.all([0, 1, 1].map((edge) => cluster.connect(edge, "owner", "customer")));
    const other = await cluster.connect(0, "other", "customer");
    const carrier = await cluster.connect(0, "carrier", "porter");
    for (const device of devices) await device.subscribe(`order:${orderId}`);
    await carrier.request(location(7));
    const api = cluster.api(1);
    const event = { notification: { notification_id: "n1", type: "hello", title: "t", message: "m" } };
    await api.publish([{ app: cluster.app, user_id: "owner", event }]);
    for (const device of devices) {
      await device.until(() => (device.events.length >= 2 ? true : undefined), {
        what: "location and notification",
      });
      expect(device.events.map(({ body }) => body?.$case).sort()).toEqual(["location", "notification"]);
    }
    expect(other.events).toEqual([]);
  });
});

/** Reads the topic that sampled locations go to, from its beginning. */
async function sampledLocations() {
  const kafka = new Kafka({
    clientId: "test",
    brokers: inject("kafkaBrokers").split(","),
    logLevel: logLevel.NOTHING,
  });
  const consumer = kafka.consumer({ groupId: `reader-${cluster.app}`, maxWaitTimeInMs: 200 });
  const values: { data: Record<string, unknown> }[] = [];
  await consumer.connect();
  await consumer.subscribe({ topic: cluster.topics.porters, fromBeginning: true });
  await consumer.run({
    eachMessage: async ({ message }) => {
      values.push(JSON.parse(message.value?.toString() ?? "{}") as { data: Record<string, unknown> });
    },
  });
  return { values, stop: () => consumer.disconnect() };
}
