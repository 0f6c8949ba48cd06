/** What `realtime.api.v1` promises about publishing, seen by a client that knows the .proto files alone. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { status } from "@grpc/grpc-js";
import { failed, type Json } from "./api-client.js";
import { ApiHarness, channel, NOW_MS, unavailable } from "./api-harness.js";

let api: ApiHarness;
beforeEach(async () => {
  api = await ApiHarness.start();
});
afterEach(async () => {
  await api.stop();
});

const orderStatus = (text: string, more: Json = {}): Json => ({
  order_status: { order_id: "42", status: text },
  ...more,
});
const toOrder42 = (event: Json, more: Json = {}): Json => ({ channel: "order:42", event, ...more });

async function publishOne(item: Json): Promise<unknown> {
  const { response } = await api.client().publish([item]);
  return (response["results"] as unknown[])[0];
}

describe("Publish", () => {
  it("stores an event and answers with its position and id", async () => {
    const result = await publishOne(toOrder42(orderStatus("picked_up", { id: "e1" })));
    expect(result).toMatchObject({
      outcome: "PUBLISH_OUTCOME_PUBLISHED",
      event_id: "e1",
      position: { offset: 1 },
      error: null,
    });
    const [event] = await api.broker.eventsIn("order:42");
    expect(event).toMatchObject({
      id: "e1",
      channel: "order:42",
      timeMs: NOW_MS,
      body: { $case: "orderStatus", value: { orderId: "42", status: "picked_up" } },
    });
  });

  it("publishes to a user as to the channel of that user", async () => {
    const event = { notification: { notification_id: "n1", type: "promo", title: "Hello", message: "x" } };
    expect(await publishOne({ user_id: "u1", event })).toMatchObject({
      outcome: "PUBLISH_OUTCOME_PUBLISHED",
    });
    expect(await api.broker.eventsIn("user:u1")).toHaveLength(1);
  });

  it("keeps the apps apart", async () => {
    await publishOne(toOrder42(orderStatus("a"), { app: "food" }));
    expect(await api.broker.eventsIn("order:42")).toHaveLength(0);
  });

  it("stores an item sent again with the same key once and gives the same answer", async () => {
    const item = toOrder42(orderStatus("picked_up"), { idempotency_key: "k1" });
    const first = await publishOne(item);
    const second = await publishOne(item);
    expect(first).toMatchObject({ outcome: "PUBLISH_OUTCOME_PUBLISHED" });
    expect(second).toEqual({ ...(first as object), outcome: "PUBLISH_OUTCOME_REPEATED" });
    expect(await api.broker.eventsIn("order:42")).toHaveLength(1);
  });

  it("takes the event's id as the key where there is no other", async () => {
    const item = toOrder42(orderStatus("picked_up", { id: "e1" }));
    await publishOne(item);
    expect(await publishOne(item)).toMatchObject({ outcome: "PUBLISH_OUTCOME_REPEATED", event_id: "e1" });
  });

  it("stores an item without key and id twice", async () => {
    await publishOne(toOrder42(orderStatus("picked_up")));
    await publishOne(toOrder42(orderStatus("picked_up")));
    expect(await api.broker.eventsIn("order:42")).toHaveLength(2);
  });

  it("drops an event that is older than the stored version", async () => {
    await publishOne(toOrder42(orderStatus("delivered"), { version: 5 }));
    expect(await publishOne(toOrder42(orderStatus("picked_up"), { version: 4 }))).toMatchObject({
      outcome: "PUBLISH_OUTCOME_STALE",
      position: null,
      error: null,
    });
    expect(await api.broker.eventsIn("order:42")).toHaveLength(1);
  });

  it("makes a location the latest value of its worker, without a position", async () => {
    const location = { worker_id: "p1", latitude: 48.1, longitude: 11.5, measured_at_ms: NOW_MS };
    expect(await publishOne(toOrder42({ location }))).toMatchObject({
      outcome: "PUBLISH_OUTCOME_PUBLISHED",
      position: null,
    });
    const { latest } = await api.broker.state(channel("order:42"));
    expect(latest.map(({ key }) => key)).toEqual(["location:p1"]);
  });

  it("gives the call's correlation id and trace context to events that have none", async () => {
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    const items = [orderStatus("a"), orderStatus("b", { correlation_id: "own" })].map((each) =>
      toOrder42(each),
    );
    const { headers } = await api
      .client()
      .publish(items, { headers: { "x-correlation-id": "checkout-7", traceparent } });
    expect(headers.get("x-correlation-id")).toEqual(["checkout-7"]);
    const events = await api.broker.eventsIn("order:42");
    expect(events.map(({ correlationId }) => correlationId)).toEqual(["checkout-7", "own"]);
    expect(events[0]?.traceparent).toBe(traceparent);
  });

  it("leaves the correlation id of events empty where nobody gave one", async () => {
    const { headers } = await api.client().publish([toOrder42(orderStatus("a"))]);
    expect(headers.get("x-correlation-id")).toHaveLength(1);
    expect((await api.broker.eventsIn("order:42"))[0]?.correlationId).toBe("");
  });

  it("keeps the order within each channel of a batch of 1,000, and the results in the items' order", async () => {
    const items = Array.from({ length: 1_000 }, (_, index) => ({
      channel: `order:${index % 50}`,
      event: orderStatus("a", { id: `e${index}` }),
    }));
    api.broker.fault = async () => new Promise((resolve) => setImmediate(resolve));
    const { response } = await api.client().publish(items);
    const ids = (response["results"] as { event_id: string }[]).map(({ event_id }) => event_id);
    expect(ids).toEqual(items.map(({ event }) => event["id"]));
    const stored = await api.broker.eventsIn("order:7");
    expect(stored.map(({ id }) => id)).toEqual(
      Array.from({ length: 20 }, (_, index) => `e${index * 50 + 7}`),
    );
    expect(api.broker.mostAtOnce).toBeGreaterThan(1);
    expect(api.broker.mostAtOnce).toBeLessThanOrEqual(32);
  });

  it.each([
    ["nothing", []],
    ["1,001 items", Array.from({ length: 1_001 }, () => toOrder42(orderStatus("a")))],
  ])("refuses a batch of %s as a whole", async (_, items: Json[]) => {
    const error = await failed(api.client().publish(items));
    expect(error).toMatchObject({
      code: status.INVALID_ARGUMENT,
      error: { code: "ERROR_CODE_INVALID_ARGUMENT", field: "items" },
    });
    expect(api.broker.begun).toHaveLength(0);
  });

  it("refuses an event of 65 KiB without touching the item beside it", async () => {
    const big = { custom: { type: "photo", data: dataOf({ text: "x".repeat(65 * 1024) }) } };
    const { response } = await api.client().publish([toOrder42(big), toOrder42(orderStatus("a"))]);
    expect(response["results"]).toMatchObject([
      {
        outcome: "PUBLISH_OUTCOME_FAILED",
        error: { code: "ERROR_CODE_PAYLOAD_TOO_LARGE", field: "items[0].event" },
      },
      { outcome: "PUBLISH_OUTCOME_PUBLISHED" },
    ]);
  });

  it("passes free data on as it is, and without a key that could steer objects", async () => {
    const data = {
      fields: {
        fare: { numberValue: 12.5 },
        paid: { boolValue: true },
        note: { nullValue: 0 },
        stops: { listValue: { values: [{ stringValue: "a" }, { stringValue: "b" }] } },
        ["__proto__"]: { structValue: { fields: { polluted: { boolValue: true } } } },
      },
    };
    expect(await publishOne(toOrder42({ custom: { type: "fare", data } }))).toMatchObject({ error: null });
    const [event] = await api.broker.eventsIn("order:42");
    expect(event?.body).toMatchObject({
      value: { data: { fare: 12.5, paid: true, note: null, stops: ["a", "b"] } },
    });
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
  });

  it.each<[string, Json, string, string]>([
    ["no target", { event: orderStatus("a") }, "INVALID_ARGUMENT", "items[0].channel"],
    ["no event", { channel: "order:42" }, "INVALID_ARGUMENT", "items[0].event"],
    ["no body", toOrder42({ id: "e1" }), "INVALID_ARGUMENT", "items[0].event.body"],
    [
      "a channel without a kind",
      { channel: "42", event: orderStatus("a") },
      "INVALID_ARGUMENT",
      "items[0].channel",
    ],
    ["a kind that is not", { channel: "planet:3", event: orderStatus("a") }, "NOT_FOUND", "items[0].channel"],
    [
      "a key in the user id",
      { user_id: "u{1}", event: orderStatus("a") },
      "INVALID_ARGUMENT",
      "items[0].user_id",
    ],
    ["a slash in the app", toOrder42(orderStatus("a"), { app: "a/b" }), "INVALID_ARGUMENT", "items[0].app"],
    [
      "a key of 129 characters",
      toOrder42(orderStatus("a"), { idempotency_key: "k".repeat(129) }),
      "INVALID_ARGUMENT",
      "items[0].idempotency_key",
    ],
    [
      "an order id with a newline",
      toOrder42({ order_status: { order_id: "4\n2", status: "a" } }),
      "INVALID_ARGUMENT",
      "items[0].event.order_status.order_id",
    ],
    [
      "latitude 91",
      toOrder42({ location: { worker_id: "p1", latitude: 91, longitude: 1, measured_at_ms: NOW_MS } }),
      "INVALID_ARGUMENT",
      "items[0].event.location.latitude",
    ],
    [
      "a longitude that is no number",
      toOrder42({ location: { worker_id: "p1", latitude: 1, longitude: NaN, measured_at_ms: NOW_MS } }),
      "INVALID_ARGUMENT",
      "items[0].event.location.longitude",
    ],
    [
      "a location of nobody",
      toOrder42({ location: { latitude: 1, longitude: 1, measured_at_ms: NOW_MS } }),
      "INVALID_ARGUMENT",
      "items[0].event.location.worker_id",
    ],
    [
      "a time a year ahead",
      toOrder42(orderStatus("a", { time_ms: NOW_MS + 365 * 86_400_000 })),
      "INVALID_ARGUMENT",
      "items[0].event.time_ms",
    ],
    ["typing", toOrder42({ typing: { user_id: "u1", typing: true } }), "PERMISSION_DENIED", "items[0].event"],
    [
      "presence",
      toOrder42({ presence: { user_id: "u1", online: true } }),
      "PERMISSION_DENIED",
      "items[0].event",
    ],
    ["membership", toOrder42({ membership: { user_id: "u1" } }), "PERMISSION_DENIED", "items[0].event"],
    ["an offer", toOrder42({ offer: { offer_id: "o1" } }), "UNSUPPORTED", "items[0].event"],
    ["chat", toOrder42({ chat_message: { content: "hi" } }), "UNSUPPORTED", "items[0].event"],
    [
      "lists 33 deep",
      toOrder42({ custom: { type: "deep", data: listsOfDepth(33) } }),
      "INVALID_ARGUMENT",
      "items[0].event.custom.data",
    ],
    [
      "a number in the data that is not finite",
      toOrder42({ custom: { type: "x", data: { fields: { a: { numberValue: Infinity } } } } }),
      "INVALID_ARGUMENT",
      "items[0].event.custom.data",
    ],
  ])("refuses an item with %s", async (_, item, code, field) => {
    expect(await publishOne(item)).toMatchObject({
      outcome: "PUBLISH_OUTCOME_FAILED",
      position: null,
      error: { code: `ERROR_CODE_${code}`, field },
    });
    expect(api.broker.begun).toHaveLength(0);
    expect(api.server.counters.publishItems.failed).toBe(1);
  });

  it("takes data of 32 levels", async () => {
    const item = toOrder42({ custom: { type: "deep", data: listsOfDepth(32) } });
    expect(await publishOne(item)).toMatchObject({ outcome: "PUBLISH_OUTCOME_PUBLISHED" });
  });

  it("is UNAVAILABLE as a whole, with a retry hint, when no item could be stored", async () => {
    api.broker.fault = () => Promise.reject(unavailable());
    const items = ["a", "b"].map((text) => toOrder42(orderStatus(text)));
    const error = await failed(api.client().publish(items));
    expect(error).toMatchObject({
      code: status.UNAVAILABLE,
      error: { code: "ERROR_CODE_UNAVAILABLE", retry_after_ms: 500 },
    });
    expect(api.server.counters.publishItems.failed).toBe(2);
  });

  it("answers per item when some could be stored, and does not try later items of a channel that failed", async () => {
    api.broker.fault = (_, event) =>
      event.eventId === "bad" ? Promise.reject(unavailable()) : Promise.resolve();
    const { response } = await api
      .client()
      .publish([
        toOrder42(orderStatus("a", { id: "first" })),
        toOrder42(orderStatus("b", { id: "bad" })),
        toOrder42(orderStatus("c", { id: "after" })),
        { channel: "order:43", event: orderStatus("d", { id: "elsewhere" }) },
      ]);
    expect(response["results"]).toMatchObject([
      { outcome: "PUBLISH_OUTCOME_PUBLISHED", event_id: "first" },
      { outcome: "PUBLISH_OUTCOME_FAILED", error: { code: "ERROR_CODE_UNAVAILABLE" } },
      { outcome: "PUBLISH_OUTCOME_FAILED", error: { code: "ERROR_CODE_UNAVAILABLE", retry_after_ms: 500 } },
      { outcome: "PUBLISH_OUTCOME_PUBLISHED", event_id: "elsewhere" },
    ]);
    expect(api.broker.begun).not.toContain("after");
  });

  it("says nothing of an inner fault but that there was one, and logs why without the body", async () => {
    api.broker.fault = () => {
      const fault = Object.assign(new Error("WRONGTYPE of key"), { command: { args: ["secret body"] } });
      return Promise.reject(fault);
    };
    const { response } = await api.client().publish([toOrder42(orderStatus("a"))]);
    expect(response["results"]).toMatchObject([{ error: { code: "ERROR_CODE_INTERNAL" } }]);
    expect(JSON.stringify(response)).not.toContain("WRONGTYPE");
    const faults = api.log.filter(({ level }) => level === "error");
    expect(faults).toHaveLength(1);
    expect(faults[0]?.fields).toMatchObject({ method: "Publish", cause: "Error: WRONGTYPE of key" });
    expect(JSON.stringify(api.log)).not.toContain("secret body");
  });

  it("ends at the caller's deadline and begins no further item", async () => {
    let release = () => {};
    const client = api.client();
    // Once it is connected, so that the deadline is not over before the server hears of the call.
    await client.publish([toOrder42(orderStatus("a", { id: "before" }))]);
    api.broker.fault = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const items = ["one", "two"].map((id) => toOrder42(orderStatus("a", { id })));
    const error = await failed(client.publish(items, { timeoutMs: 1_500 }));
    expect(error.code).toBe(status.DEADLINE_EXCEEDED);
    await vi.waitFor(
      () => expect(api.server.counters.callCount("Publish", status.DEADLINE_EXCEEDED)).toBe(1),
      { timeout: 5_000 },
    );
    expect(api.server.callsInFlight).toBe(0);
    release();
    await vi.waitFor(async () => expect(await api.broker.eventsIn("order:42")).toHaveLength(2));
    await new Promise((resolve) => setImmediate(resolve));
    expect(api.broker.begun).toEqual(["before", "one"]);
  });

  it("counts calls by code and items by outcome", async () => {
    const item = toOrder42(orderStatus("a", { id: "e1" }));
    await api.client().publish([item, item, { event: {} }]);
    expect(api.server.counters.publishItems).toEqual({ published: 1, repeated: 1, stale: 0, failed: 1 });
    expect(api.server.counters.callCounts()).toEqual([{ method: "Publish", code: "OK", count: 1 }]);
  });
});

function dataOf(texts: Readonly<Record<string, string>>): Json {
  const fields = Object.entries(texts).map(([name, stringValue]) => [name, { stringValue }]);
  return { fields: Object.fromEntries(fields) as Json };
}

/** An object that holds lists within lists: so many levels in all. */
function listsOfDepth(depth: number): Json {
  let inner: Json = { listValue: { values: [] } };
  for (let level = 2; level < depth; level += 1) inner = { listValue: { values: [inner] } };
  return { fields: { a: inner } };
}
