/**
 * Streamed publishes on a real gateway: every event reaches every follower once and in order, also where the
 * fanout that the stream is open to is deployed in the middle of it, and the caller sends again elsewhere what
 * has no answer.
 */
import { randomUUID } from "node:crypto";
import { status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { ApiClient, Json } from "#test/contract/api-client.js";
import type { ApiStream } from "#test/contract/api-stream.js";
import type { AppClient } from "#test/support/app-client.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
});

afterAll(async () => {
  await cluster.stop();
});

const ORDERS = 5;
/** Requests under way at once. */
const WINDOW = 32;
const NEVER_STORED = ["PUBLISH_OUTCOME_FAILED"];

/** A backend service that publishes "s1", "s2", … to its orders in turn, an event in each request. */
class Courier {
  readonly orderIds: readonly string[] = Array.from({ length: ORDERS }, () => randomUUID());
  /** Requests without an answer, in the order in which they were sent. */
  readonly unanswered = new Map<number, Json>();
  #stream: ApiStream;
  #responsesRead = 0;
  #sent = 0;

  constructor(api: ApiClient) {
    this.#stream = this.#open(api);
  }

  get ended(): ApiStream["ended"] {
    return this.#stream.ended;
  }

  get sent(): number {
    return this.#sent;
  }

  /** What was published to an order, in its order. */
  statusesOf(orderId: string): string[] {
    const place = this.orderIds.indexOf(orderId);
    return Array.from({ length: this.#sent }, (_, index) => index + 1)
      .filter((number) => number % ORDERS === place)
      .map((number) => `s${number}`);
  }

  /** Goes on in another stream: what has no answer is sent again first, in its order, with the same keys. */
  reopen(api: ApiClient): void {
    this.#responsesRead = 0;
    this.#stream = this.#open(api);
    for (const request of this.unanswered.values()) this.#stream.send(request);
  }

  /** Sends as answers come, until so many were sent in all. */
  sendUpTo(total: number): void {
    while (this.#sent < total && this.unanswered.size < WINDOW) {
      this.#sent += 1;
      const number = this.#sent;
      const orderId = this.orderIds[number % ORDERS] ?? "";
      const event = { order_status: { order_id: orderId, status: `s${number}` } };
      const item = { app: cluster.app, channel: `order:${orderId}`, event, idempotency_key: `k${number}` };
      const request = { number, items: [item] };
      this.unanswered.set(number, request);
      this.#stream.send({ ...request, responses_read: this.#responsesRead });
    }
  }

  finish(): void {
    this.#stream.end();
  }

  onAnswer: () => void = () => undefined;

  #open(api: ApiClient): ApiStream {
    const stream = api.publishStream();
    stream.onAnswer(({ number, results }) => {
      this.#responsesRead += 1;
      const [result] = results;
      if (NEVER_STORED.includes(String(result?.["outcome"]))) return;
      this.unanswered.delete(number);
      this.onAnswer();
    });
    return stream;
  }
}

async function followersOf(courier: Courier): Promise<AppClient[]> {
  const users = Array.from({ length: 4 }, (_, index) => `u${index}-${randomUUID()}`);
  for (const orderId of courier.orderIds) {
    await cluster.grant(orderId, Object.fromEntries(users.map((user) => [user, "MEMBER" as const])));
  }
  const clients = await Promise.all(
    users.map((user, index) =>
      cluster.connect(index % 2, user, "customer", { framing: index < 2 ? "json" : "protobuf" }),
    ),
  );
  for (const client of clients) {
    for (const orderId of courier.orderIds) await client.subscribe(`order:${orderId}`);
  }
  return clients;
}

function statuses(client: AppClient, orderId: string): string[] {
  return client
    .eventsOf(`order:${orderId}`, "orderStatus")
    .map(({ body }) => (body?.$case === "orderStatus" ? body.value.status : "?"));
}

async function expectAllHeard(clients: readonly AppClient[], courier: Courier): Promise<void> {
  for (const client of clients) {
    for (const orderId of courier.orderIds) {
      const expected = courier.statusesOf(orderId);
      const hasLast = () => (statuses(client, orderId).includes(expected.at(-1) ?? "") ? true : undefined);
      await client.until(hasLast, { what: "the last status", timeoutMs: 20_000 });
      expect(statuses(client, orderId)).toEqual(expected);
    }
  }
}

it("brings every event to every follower once, in the order in which they were sent", async () => {
  const courier = new Courier(cluster.api(0));
  const clients = await followersOf(courier);
  courier.onAnswer = () => {
    courier.sendUpTo(2_000);
    if (courier.unanswered.size === 0) courier.finish();
  };
  courier.sendUpTo(2_000);
  expect(await courier.ended).toMatchObject({ code: status.OK });
  expect(courier.sent).toBe(2_000);
  await expectAllHeard(clients, courier);
});

it("loses and repeats nothing when the fanout is deployed and the rest is sent to another", async () => {
  const courier = new Courier(cluster.api(0));
  const clients = await followersOf(courier);
  let stopped: Promise<unknown> | undefined;
  courier.onAnswer = () => {
    courier.sendUpTo(3_000);
    if (courier.sent > 500) stopped ??= cluster.fanouts[0]?.stop();
    if (courier.unanswered.size === 0) courier.finish();
  };
  courier.sendUpTo(3_000);
  expect(await courier.ended).toMatchObject({
    code: status.UNAVAILABLE,
    error: { code: "ERROR_CODE_UNAVAILABLE" },
  });
  expect(courier.unanswered.size).toBeGreaterThan(0);
  courier.reopen(cluster.api(1));
  expect(await courier.ended).toMatchObject({ code: status.OK });
  await stopped;
  expect(courier.sent).toBe(3_000);
  await expectAllHeard(clients, courier);
  for (const client of clients) expect(client.closedWith).toBeUndefined();
  await cluster.startFanout(0);
});
