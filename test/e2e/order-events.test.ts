import { randomBytes, randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import type { AppClient } from "#test/support/app-client.js";
import { startKafka, type RunningKafka } from "#test/support/kafka.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { asJson, asProtobuf, EventTopics, type ServiceEvent } from "./event-topics.js";

let cluster: Cluster;
let kafka: EventTopics;
let partitions: number[];

beforeAll(async () => {
  cluster = await Cluster.start();
  kafka = await EventTopics.connect(inject("kafkaBrokers"));
  const count = await kafka.partitions(cluster.topics.orders);
  partitions = Array.from({ length: count }, (_, partition) => partition);
});

afterAll(async () => {
  await kafka.close();
  await cluster.stop();
});

function orderEvent(type: string, orderId: string, more: Record<string, unknown> = {}): ServiceEvent {
  const { correlationId, traceparent, ...data } = more;
  return {
    eventId: randomUUID(),
    type,
    app: cluster.app,
    data: { orderId, ...data },
    ...(typeof correlationId === "string" && { correlationId }),
    ...(typeof traceparent === "string" && { traceparent }),
  };
}

function status(orderId: string, word: string, more: Record<string, unknown> = {}): ServiceEvent {
  return orderEvent("order.status.changed", orderId, { status: word, ...more });
}

function statuses(client: AppClient, orderId: string): string[] {
  return client
    .eventsOf(`order:${orderId}`, "orderStatus")
    .map(({ body }) => (body?.$case === "orderStatus" ? body.value.status : "?"));
}

async function untilStatus(
  client: AppClient,
  orderId: string,
  word: string,
  timeoutMs = 10_000,
): Promise<void> {
  const what = `the status ${word}`;
  await client.until(() => (statuses(client, orderId).includes(word) ? true : undefined), {
    what,
    timeoutMs,
  });
}

/** The owner on both edges and in both framings, and an admin: all of them follow the order. */
async function followers(orderId: string): Promise<AppClient[]> {
  await cluster.grant(orderId, { owner: "OWNER" });
  const clients = await Promise.all([
    cluster.connect(0, "owner", "customer", { framing: "json" }),
    cluster.connect(0, "owner", "customer", { framing: "protobuf" }),
    cluster.connect(1, "owner", "customer", { framing: "json" }),
    cluster.connect(1, "owner", "customer", { framing: "protobuf" }),
    cluster.connect(1, "boss", "admin", { framing: "json" }),
    cluster.connect(0, "chief", "admin", { framing: "protobuf" }),
  ]);
  for (const client of clients) await client.subscribe(`order:${orderId}`);
  return clients;
}

describe("order events", () => {
  it("arrive once on every follower's socket, in JSON and in protobuf, though each came twice", async () => {
    const orderId = randomUUID();
    const clients = await followers(orderId);
    const stranger = await cluster.connect(0, "stranger", "customer");
    const { orders } = cluster.topics;
    const first = asJson(status(orderId, "accepted"));
    const second = asProtobuf(status(orderId, "picked_up"));
    await kafka.write(orders, 0, first, first, second, second);
    // What is produced behind the repeats has arrived when they have been dealt with.
    await kafka.write(orders, 0, asJson(status(orderId, "behind-0")));
    for (const client of clients) await untilStatus(client, orderId, "behind-0");
    // To a partition that another fanout may read.
    for (const partition of partitions.slice(1)) {
      await kafka.write(orders, partition, second, first, asJson(status(orderId, `behind-${partition}`)));
    }
    for (const client of clients) {
      for (const partition of partitions) await untilStatus(client, orderId, `behind-${partition}`);
      const seen = statuses(client, orderId);
      expect(seen.slice(0, 3)).toEqual(["accepted", "picked_up", "behind-0"]);
      expect([...seen].sort()).toEqual(
        ["accepted", "picked_up", ...partitions.map((partition) => `behind-${partition}`)].sort(),
      );
      expect(client.events.map(({ position }) => position?.offset)).toEqual(
        client.events.map((_, index) => index + 1),
      );
    }
    expect(stranger.events).toEqual([]);
  });

  it("carry the correlation id and the trace of their envelope, the sender's words and further fields", async () => {
    const orderId = randomUUID();
    const clients = await followers(orderId);
    const traceparent = `00-${randomBytes(16).toString("hex")}-${randomBytes(8).toString("hex")}-01`;
    const more = { previousStatus: "ready", porterId: "p1", message: "On the way", etaMinutes: 7 };
    const inJson = status(orderId, "one", { ...more, correlationId: "order-42", traceparent });
    const inProtobuf = status(orderId, "two", { ...more, correlationId: "order-43", traceparent });
    await kafka.write(cluster.topics.orders, 3, asJson(inJson), asProtobuf(inProtobuf));
    for (const client of clients) {
      await untilStatus(client, orderId, "two");
      const events = client.eventsOf(`order:${orderId}`);
      for (const [index, sent] of [inJson, inProtobuf].entries()) {
        expect(events[index]).toMatchObject({
          id: sent.eventId,
          correlationId: sent.correlationId,
          traceparent,
          body: {
            value: {
              orderId,
              previousStatus: "ready",
              workerId: "p1",
              message: "On the way",
              data: { etaMinutes: 7 },
            },
          },
        });
      }
    }
  });

  it("let the customer in, let the porter's locations flow, and end the porter's part with the order", async () => {
    const orderId = randomUUID();
    const [channel, customerId, porterId] = [`order:${orderId}`, `c-${orderId}`, `p-${orderId}`];
    const { orders } = cluster.topics;
    const customer = await cluster.connect(0, customerId, "customer", { framing: "protobuf" });
    const porter = await cluster.connect(1, porterId, "porter");
    const location = (latitude: number) =>
      porter.request({ $case: "locationUpdate", value: { latitude, longitude: 2, timestampMs: 0, orderId } });
    await expect(customer.subscribe(channel)).rejects.toThrow(/"code":2/);
    expect(await location(1)).toMatchObject({ $case: "error", value: { code: 2 } });

    await kafka.write(orders, 5, asJson(orderEvent("order.created", orderId, { customerId })));
    await waitFor(() => customer.subscribe(channel), { what: "the customer to take part" });
    await kafka.write(orders, 5, asProtobuf(orderEvent("order.assigned", orderId, { porterId })));
    await untilStatus(customer, orderId, "assigned");
    await waitFor(async () => (await location(2)).$case === "reply", { what: "the porter to be assigned" });
    await porter.subscribe(channel);
    await customer.until(() => customer.eventsOf(channel, "location")[0], { what: "a location" });

    await kafka.write(orders, 5, asJson(orderEvent("order.completed", orderId)));
    const unsubscribed = await porter.body("unsubscribed");
    expect(unsubscribed).toEqual({ channel, reason: 2 });
    expect(statuses(porter, orderId)).toEqual(["completed"]);
    await waitFor(async () => (await location(3)).$case === "error", {
      what: "the porter's part to be over",
    });
    await expect(porter.subscribe(channel)).rejects.toThrow(/"code":2/);
    await kafka.write(orders, 5, asJson(status(orderId, "rated")));
    await untilStatus(customer, orderId, "rated");
    expect(statuses(porter, orderId)).toEqual(["completed"]);
  });

  it("that cannot be read go to the dead letters with the reason, and hold up none behind them", async () => {
    const orderId = randomUUID();
    const clients = await followers(orderId);
    const { orders } = cluster.topics;
    const broken = [
      { value: Buffer.from("{ this is no JSON"), headers: {} },
      { value: Buffer.from([0xff, 0x01, 0x02]), headers: { "content-type": "application/protobuf" } },
      asJson({ ...status(orderId, "without-an-order"), data: { status: "lost" } }),
      asJson(orderEvent("order.assigned", orderId, { porterId: "no:body" })),
    ];
    await kafka.write(orders, 6, ...broken, asJson(status(orderId, "behind")));
    for (const client of clients) await untilStatus(client, orderId, "behind");
    for (const client of clients) expect(statuses(client, orderId)).toEqual(["behind"]);

    const letters = await kafka.read(`${orders}.dlq`, `reader-of-letters-${cluster.app}`);
    await waitFor(() => letters.length >= broken.length, { what: "the dead letters", timeoutMs: 15_000 });
    expect(letters.map(({ value }) => value).sort()).toEqual(
      broken.map(({ value }) => value.toString()).sort(),
    );
    const reasons = letters.map(({ headers }) => headers["dlq-reason"] ?? "none");
    expect(reasons.sort()).toEqual([
      "data.orderId must be given: an id",
      "data.porterId must be 1 to 128 of A-Z a-z 0-9 _ . @ | + = -",
      "it is not JSON",
      "it is not a protobuf realtime.events.v1.Envelope",
    ]);
  });

  it("arrive once although the fanout that consumed them was killed before it committed", async () => {
    const orderId = randomUUID();
    const clients = await followers(orderId);
    const { orders } = cluster.topics;
    const sent = partitions.map((partition) => status(orderId, `first-${partition}`));
    const produce = async (): Promise<void> => {
      await Promise.all(sent.map((event, partition) => kafka.write(orders, partition, asProtobuf(event))));
    };
    await produce();
    const [watcher] = clients;
    if (watcher === undefined) throw new Error("there are followers");
    for (const partition of partitions) await untilStatus(watcher, orderId, `first-${partition}`);
    await cluster.fanouts[0]?.kill();
    await produce();
    const last = partitions.map((partition) => status(orderId, `second-${partition}`));
    await Promise.all(last.map((event, partition) => kafka.write(orders, partition, asJson(event))));
    const expected = [...sent, ...last].map(({ data }) => data["status"]).sort();
    for (const client of clients) {
      for (const partition of partitions) await untilStatus(client, orderId, `second-${partition}`, 40_000);
      expect(statuses(client, orderId).sort()).toEqual(expected);
      expect(client.closedWith).toBeUndefined();
    }
    await cluster.startFanout(0);
  });
});

// A consumer needs a while to be sure that its broker hangs: too long for every run.
describe.runIf(process.env["LONG_TESTS"] === "1")("a Kafka that hangs", () => {
  let ownKafka: RunningKafka | undefined;
  let ownCluster: Cluster | undefined;

  afterAll(async () => {
    await ownCluster?.stop();
    await ownKafka?.kill();
  });

  it("turns /ready of the fanout red, and green when it is back and events flow again", async () => {
    ownKafka = await startKafka();
    ownCluster = await Cluster.start({ kafkaBrokers: ownKafka.brokers, edges: 1, fanouts: 1 });
    const [fanout] = ownCluster.fanouts;
    if (fanout === undefined) throw new Error("there is a fanout");
    const ready = async (): Promise<Response> => fetch(fanout.url("HTTP_PORT", "/ready"));
    expect((await ready()).status).toBe(200);
    const admin = await ownCluster.connect(0, "boss", "admin");
    await admin.subscribe("order:42");

    ownKafka.freeze();
    const red = await waitFor(
      async () => {
        const answer = await ready();
        return answer.status === 503 ? answer : undefined;
      },
      { what: "a red /ready", timeoutMs: 60_000, pollMs: 200 },
    );
    expect(await red.text()).toContain("kafka is away");
    expect(admin.closedWith).toBeUndefined();

    ownKafka.thaw();
    await fanout.untilReady(60_000);
    const producer = await EventTopics.connect(ownKafka.brokers);
    const event = { ...status("42", "flows"), app: ownCluster.app };
    await producer.write(ownCluster.topics.orders, 0, asJson(event));
    await untilStatus(admin, "42", "flows", 30_000);
    await producer.close();
  }, 240_000);
});
