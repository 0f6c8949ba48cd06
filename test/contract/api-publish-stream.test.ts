/** What `realtime.api.v1` promises about streamed publishes, seen by a client that knows the .proto files alone. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { status } from "@grpc/grpc-js";
import type { Json } from "./api-client.js";
import { ApiHarness, unavailable } from "./api-harness.js";
import type { ApiStream } from "./api-stream.js";

let api: ApiHarness;
beforeEach(async () => {
  api = await ApiHarness.start();
});
afterEach(async () => {
  await api.stop();
});

const PUBLISHED = "PUBLISH_OUTCOME_PUBLISHED";

function item(orderId: string, id: string, more: Json = {}): Json {
  const event = { id, order_status: { order_id: orderId, status: "picked_up" } };
  return { channel: `order:${orderId}`, event, ...more };
}

const big = (bytes: number): Json => {
  const data = { fields: { text: { stringValue: "x".repeat(bytes) } } };
  return { channel: "order:1", event: { custom: { type: "photo", data } } };
};

async function idsIn(orderId: string): Promise<string[]> {
  return (await api.broker.eventsIn(`order:${orderId}`)).map(({ id }) => id);
}

/** Holds every publish until it is opened; `begun` of the broker says which have come so far. */
function hold(): () => void {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  api.broker.fault = () => opened;
  return () => open();
}

async function untilBegun(count: number): Promise<void> {
  await vi.waitFor(() => expect(api.broker.begun).toHaveLength(count), { timeout: 4_000 });
}

const numbers = ({ answers }: ApiStream): number[] => answers.map(({ number }) => number);

describe("PublishStream", () => {
  it("answers each request with its number and a result for each item, and ends when the caller does", async () => {
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1"), item("2", "e2")] });
    stream.send({ number: 9, items: [item("1", "e3")] });
    stream.end();
    expect(await stream.ended).toMatchObject({ code: status.OK });
    expect(numbers(stream).sort()).toEqual([1, 9]);
    expect((await stream.answer(1)).results).toMatchObject([
      { outcome: PUBLISHED, event_id: "e1", position: { offset: 1 } },
      { outcome: PUBLISHED, event_id: "e2", position: { offset: 1 } },
    ]);
    expect((await stream.answer(9)).results).toMatchObject([{ event_id: "e3", position: { offset: 2 } }]);
  });

  it("keeps the order within each channel over 200 requests, and lets channels go side by side", async () => {
    api.broker.fault = async () => new Promise((resolve) => setImmediate(resolve));
    const stream = api.client().publishStream();
    for (let number = 1; number <= 200; number += 1) {
      stream.send({ number, items: [item("a", `a${number}`), item(String(number % 20), `x${number}`)] });
    }
    stream.end();
    expect(await stream.ended).toMatchObject({ code: status.OK });
    expect(await idsIn("a")).toEqual(Array.from({ length: 200 }, (_, index) => `a${index + 1}`));
    expect(await idsIn("7")).toEqual(Array.from({ length: 10 }, (_, index) => `x${index * 20 + 7}`));
    expect(api.broker.mostAtOnce).toBeGreaterThan(1);
    expect(api.broker.mostAtOnce).toBeLessThanOrEqual(32);
  });

  it("gives the call's correlation id to the events of all its requests", async () => {
    const stream = api.client().publishStream({ headers: { "x-correlation-id": "shift-7" } });
    stream.send({ number: 1, items: [item("1", "e1")] });
    await stream.answer(1);
    stream.send({ number: 2, items: [item("1", "e2")] });
    await stream.answer(2);
    const events = await api.broker.eventsIn("order:1");
    expect(events.map(({ correlationId }) => correlationId)).toEqual(["shift-7", "shift-7"]);
    stream.end();
  });

  it("stores what is sent again on another call with the same key once", async () => {
    const first = api.client().publishStream();
    first.send({ number: 1, items: [item("1", "", { idempotency_key: "k1" })] });
    const { results } = await first.answer(1);
    first.cancel();
    const second = api.client().publishStream();
    second.send({ number: 1, items: [item("1", "", { idempotency_key: "k1" })] });
    expect((await second.answer(1)).results).toEqual([
      { ...results[0], outcome: "PUBLISH_OUTCOME_REPEATED" },
    ]);
    second.end();
  });

  it("says in the results that the store is away, and goes on", async () => {
    api.broker.fault = () => Promise.reject(unavailable());
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1")] });
    expect((await stream.answer(1)).results).toMatchObject([
      {
        outcome: "PUBLISH_OUTCOME_FAILED",
        error: { code: "ERROR_CODE_UNAVAILABLE", retry_after_ms: 500 },
      },
    ]);
    api.broker.fault = undefined;
    stream.send({ number: 2, items: [item("1", "e1"), item("nonsense/", "e2")], responses_read: 1 });
    expect((await stream.answer(2)).results).toMatchObject([
      { outcome: PUBLISHED, event_id: "e1" },
      { error: { code: "ERROR_CODE_INVALID_ARGUMENT", field: "items[1].channel" } },
    ]);
    stream.end();
    expect(await stream.ended).toMatchObject({ code: status.OK });
  });

  it("does not try what stands behind a failure that the caller had not read of, until it is sent again", async () => {
    let fail = (): void => undefined;
    const failing = new Promise<void>((_, reject) => (fail = () => reject(unavailable())));
    api.broker.fault = (_, event) => (event.eventId === "e1" ? failing : Promise.resolve());
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1")], responses_read: 0 });
    stream.send({ number: 2, items: [item("1", "e2")], responses_read: 0 });
    await untilBegun(1);
    fail();
    await stream.answer(2);
    stream.send({ number: 3, items: [item("1", "e3")], responses_read: 0 });
    expect((await stream.answer(3)).results).toMatchObject([{ error: { code: "ERROR_CODE_UNAVAILABLE" } }]);
    api.broker.fault = undefined;
    stream.send({ number: 4, items: ["e1", "e2", "e3"].map((id) => item("1", id)), responses_read: 3 });
    await stream.answer(4);
    expect(await idsIn("1")).toEqual(["e1", "e2", "e3"]);
    stream.end();
  });

  it.each<[string, Json | Buffer, string, object]>([
    ["no items", { number: 5 }, "request 5: a call has 1 to 1000", { field: "items" }],
    [
      "responses read that were not sent",
      { number: 5, items: [item("1", "e2")], responses_read: 7 },
      "request 5: so far ",
      { field: "responses_read" },
    ],
    ["bytes that are no message", Buffer.from([0xff, 0xff, 0xff]), "the request is not a message", {}],
    [
      "more than 1 MiB",
      { number: 5, items: Array.from({ length: 20 }, () => big(60_000)) },
      "a request of a stream has at most 1048576 bytes",
      { code: "ERROR_CODE_PAYLOAD_TOO_LARGE" },
    ],
  ])("ends with INVALID_ARGUMENT, behind what came before, after %s", async (_, request, details, error) => {
    const open = hold();
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1")] });
    stream.send(request);
    stream.send({ number: 6, items: [item("1", "e3")] });
    await untilBegun(1);
    open();
    expect(await stream.ended).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: expect.stringContaining(details) as string,
      error,
    });
    expect(numbers(stream)).toEqual([1]);
    expect(await idsIn("1")).toEqual(["e1"]);
  });

  it("reads no more than it may have in hand, and goes on when that is done", async () => {
    const open = hold();
    const stream = api.client().publishStream();
    const total = 1_500;
    for (let number = 1; number <= total; number += 1) {
      stream.send({ number, items: [item("1", `e${number}`)] });
    }
    await vi.waitFor(() => expect(api.server.streamedItems).toBe(1_024), { timeout: 10_000 });
    stream.end();
    // Other callers are served meanwhile.
    expect(await api.client().health()).toBe("SERVING");
    expect(api.server.streamedItems).toBe(1_024);
    open();
    expect(await stream.ended).toMatchObject({ code: status.OK });
    expect(numbers(stream)).toEqual(Array.from({ length: total }, (_, index) => index + 1));
  }, 20_000);

  it("reads no more while its answers are not read", async () => {
    const stream = api.client().publishStream();
    stream.send({ number: 0, items: [item("1", "first")] });
    await stream.answer(0);
    stream.pauseReading();
    const total = 400;
    const items = Array.from({ length: 100 }, () => item("1", "first"));
    for (let number = 1; number <= total; number += 1) stream.send({ number, items });
    stream.end();
    let before = -1;
    await vi.waitFor(
      () => {
        const { repeated } = api.server.counters.publishItems;
        const isSettled = repeated === before && repeated > 0;
        before = repeated;
        expect(isSettled).toBe(true);
      },
      { interval: 200, timeout: 10_000 },
    );
    expect(before).toBeLessThan(total * 100);
    stream.resumeReading();
    expect(await stream.ended).toMatchObject({ code: status.OK });
    expect(numbers(stream)).toHaveLength(total + 1);
  }, 20_000);

  it("begins nothing more once the caller has left", async () => {
    const open = hold();
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1"), item("1", "e2")] });
    await untilBegun(1);
    stream.cancel();
    await vi.waitFor(() => expect(api.server.counters.callCount("PublishStream", status.CANCELLED)).toBe(1));
    expect([api.server.callsInFlight, api.server.openStreams]).toEqual([0, 0]);
    open();
    await vi.waitFor(async () => expect(await idsIn("1")).toEqual(["e1"]));
    await new Promise((resolve) => setImmediate(resolve));
    expect(api.broker.begun).toEqual(["e1"]);
  });

  it("refuses callers without a token", async () => {
    const stream = api.client({ token: "wrong" }).publishStream();
    stream.send({ number: 1, items: [item("1", "e1")] });
    expect(await stream.ended).toMatchObject({ code: status.UNAUTHENTICATED });
    expect(api.broker.begun).toEqual([]);
  });
});

describe("the bounds of streams", () => {
  it("refuse one stream more than there may be, and leave the places of calls alone", async () => {
    await api.stop();
    api = await ApiHarness.start({ limits: { maxPublishStreams: 1, maxCallsInFlight: 1 } });
    const first = api.client().publishStream();
    first.send({ number: 1, items: [item("1", "e1")] });
    await first.answer(1);
    const second = api.client().publishStream();
    expect(await second.ended).toMatchObject({
      code: status.UNAVAILABLE,
      error: { code: "ERROR_CODE_UNAVAILABLE", retry_after_ms: 1_000 },
    });
    const { response } = await api.client().publish([item("1", "e2")]);
    expect(response["results"]).toMatchObject([{ outcome: PUBLISHED }]);
    first.end();
    expect(await first.ended).toMatchObject({ code: status.OK });
    const third = api.client().publishStream();
    third.end();
    expect(await third.ended).toMatchObject({ code: status.OK });
  });

  it("end a stream with a request that takes longer than any may, and not one that is idle for longer", async () => {
    await api.stop();
    api = await ApiHarness.start({ limits: { maxCallMs: 100 } });
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1")] });
    await stream.answer(1);
    const idleSinceMs = performance.now();
    await vi.waitFor(() => expect(performance.now() - idleSinceMs).toBeGreaterThan(150));
    api.broker.fault = () => new Promise(() => undefined);
    stream.send({ number: 2, items: [item("1", "e2")] });
    expect(await stream.ended).toMatchObject({
      code: status.DEADLINE_EXCEEDED,
      error: { code: "ERROR_CODE_EXPIRED" },
    });
    expect(numbers(stream)).toEqual([1]);
    await vi.waitFor(() => expect(api.server.openStreams).toBe(0));
  });
});

describe("a server that ends", () => {
  it("answers what it has read, ends its streams with UNAVAILABLE, and takes no others", async () => {
    const open = hold();
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1")] });
    stream.send({ number: 2, items: [item("2", "e2")] });
    await untilBegun(2);
    api.server.drain();
    expect(await api.client().health()).toBe("NOT_SERVING");
    stream.send({ number: 3, items: [item("1", "e3")] });
    open();
    expect(await stream.ended).toMatchObject({
      code: status.UNAVAILABLE,
      error: { code: "ERROR_CODE_UNAVAILABLE" },
    });
    expect(numbers(stream).sort()).toEqual([1, 2]);
    expect([await idsIn("1"), await idsIn("2")]).toEqual([["e1"], ["e2"]]);

    const late = api.client().publishStream();
    late.send({ number: 1, items: [item("1", "e4")] });
    expect(await late.ended).toMatchObject({ code: status.UNAVAILABLE });
    // Single calls are served until it stops.
    const { response } = await api.client().publish([item("1", "e5")]);
    expect(response["results"]).toMatchObject([{ outcome: PUBLISHED }]);
  });

  it("does not wait for streams that are idle", async () => {
    const streams = [api.client().publishStream(), api.client().publishStream()];
    await vi.waitFor(() => expect(api.server.openStreams).toBe(2));
    await api.server.stop(60_000);
    for (const stream of streams) expect(await stream.ended).toMatchObject({ code: status.UNAVAILABLE });
  });

  it("cuts a stream whose requests do not end in time", async () => {
    hold();
    const stream = api.client().publishStream();
    stream.send({ number: 1, items: [item("1", "e1")] });
    await untilBegun(1);
    await api.server.stop(50);
    expect((await stream.ended).code).not.toBe(status.OK);
    expect(stream.answers).toEqual([]);
  });
});
