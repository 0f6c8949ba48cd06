import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate, location, order } from "#test/support/fanout-core.js";

const channel = order("42");
let core: FanoutCore;
let edge: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  await core.grant(channel, "owner");
  for (let index = 0; index < 5; index += 1) await core.publish(channel);
});

afterEach(() => core.stop());

/** A session comes from another home, where it stood at these offsets. */
async function restore(
  session: number,
  positions: Readonly<Record<string, Position>>,
  snapshot: Partial<SessionSnapshot> = {},
): Promise<void> {
  const channels = ["user:owner", "order:42", "order:42"];
  const state = SessionSnapshot.encode(
    SessionSnapshot.fromPartial({
      sessionId: "s",
      channels,
      upSequence: 3,
      sampleCounter: 4,
      generation: 1,
      ...snapshot,
    }),
  ).finish();
  edge.open(session, { userId: "owner" }, { state, positions: { ...positions }, nextUpSequence: 4 });
  await Promise.resolve();
}

async function at(offset: number): Promise<Position> {
  const { position } = await core.elsewhere.state(channel);
  const [event] = await core.elsewhere.history(channel, { afterOffset: offset - 1, limit: 1 });
  return { ...position, offset, tag: event?.position.tag ?? 0 };
}

async function untilHeard(session: number, word: string, timeout = 1000): Promise<void> {
  await vi.waitFor(() => expect(edge.heard(session)).toContain(word), { timeout });
}

/** The store has lost who takes part in what, and it is not told again yet. */
function rebuilding(): void {
  vi.spyOn(core.directory, "participation").mockRejectedValue(new PartUnknownError());
  vi.spyOn(core.directory, "recordOf").mockImplementation(() =>
    Promise.resolve({ parts: [], ended: new Set<string>(), isComplete: false, version: 0 }),
  );
}

const turn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5));
const status = (...offsets: readonly number[]): string[] => offsets.map((offset) => `orderStatus ${offset}`);

describe("a session from another home", () => {
  it("gets what it missed and no word more, and then live events", async () => {
    const lastLocation = { latitude: 1, longitude: 2, accuracyMeters: 3, measuredAtMs: 4, receivedAtUs: 5 };
    await restore(1, { "order:42": await at(3) }, { lastLocation });
    await untilHeard(1, "orderStatus 5");
    await core.publish(channel);
    await untilHeard(1, "orderStatus 6");
    expect(edge.heard(1)).toEqual(status(4, 5, 6));
    expect(
      edge
        .itemsOf("join")
        .map((join) => join.channel)
        .sort(),
    ).toEqual(["order:42", "user:owner"]);
    const last = edge.itemsOf("state").at(-1);
    expect(SessionSnapshot.decode(last?.state ?? new Uint8Array())).toMatchObject({
      sessionId: "s",
      sampleCounter: 4,
      lastLocation,
      generation: 1,
      isGenerationConfirmed: false,
    });
  });

  it("gets the value that came while it had no home", async () => {
    await core.publish(channel, location("p1", 7));
    await restore(1, { "order:42": await at(5) });
    await untilHeard(1, "location 7");
    expect(edge.itemsOf("frame").at(-1)).toMatchObject({ channel: "order:42", conflationKey: "location:p1" });
  });

  it("is told where what it missed cannot be restored", async () => {
    await restore(1, { "order:42": { epoch: "of-a-lost-store", offset: 2, tag: 0 } });
    await untilHeard(1, "subscribed order:42");
    expect(edge.framesOf(1)[0]?.body).toMatchObject({ value: { recovered: false, position: { offset: 5 } } });
  });

  it("is unsubscribed where its part ended meanwhile, also while it is restored", async () => {
    const waiting = gate();
    core.broker.answers.set("history", () => waiting.opened);
    await restore(1, { "order:42": await at(3) });
    await vi.waitFor(() => expect(core.broker.calls).toContain("history"));
    await core.participations.end(channel, "owner");
    await turn();
    waiting.open();
    await untilHeard(1, "unsubscribed order:42");
    await core.publish(channel);
    await turn();
    expect(edge.heard(1)).toEqual(["unsubscribed order:42"]);
  });

  it("comes back while the store is away, hears this process's events, and the missed ones later", async () => {
    const position = await at(2);
    core.broker.isAway = true;
    await restore(1, { "order:42": position });
    await vi.waitFor(() => expect(edge.itemsOf("join").map((join) => join.channel)).toContain("order:42"));
    expect(edge.itemsOf("close")).toEqual([]);
    core.broker.isAway = false;
    await untilHeard(1, "orderStatus 5", 5000);
    expect(edge.heard(1)).toEqual(status(3, 4, 5));
  });

  describe("where the store fails after the channel has moved on without it", () => {
    beforeEach(async () => {
      edge.open(9, { userId: "owner" });
      edge.subscribe(9, "order:42");
      await untilHeard(9, "subscribed order:42");
      core.broker.failing.add("history");
    });

    it("waits for the store, and then gets what it missed", async () => {
      await restore(1, { "order:42": await at(2) });
      await vi.waitFor(() => expect(core.broker.calls.filter((call) => call === "history")).not.toEqual([]));
      expect(edge.heard(1)).toEqual([]);
      core.broker.failing.clear();
      await untilHeard(1, "orderStatus 5");
      await core.publish(channel);
      await untilHeard(1, "orderStatus 6");
      expect(edge.heard(1)).toEqual(status(3, 4, 5, 6));
    });

    it("is told what it missed where the store does not come back in time", async () => {
      const past = await at(2);
      const nowMs = performance.now();
      const clock = vi.spyOn(performance, "now").mockReturnValue(nowMs);
      await restore(1, { "order:42": past });
      await vi.waitFor(() => expect(core.broker.calls.filter((call) => call === "history")).not.toEqual([]));
      clock.mockReturnValue(nowMs + 10_001);
      await untilHeard(1, "subscribed order:42", 2000);
      clock.mockRestore();
      expect(edge.framesOf(1)[0]?.body).toMatchObject({
        value: { recovered: false, position: { offset: 5 } },
      });
      core.broker.failing.clear();
      await core.publish(channel);
      await untilHeard(1, "orderStatus 6");
      expect(edge.heard(1)).toEqual(["subscribed order:42", ...status(6)]);
    });
  });

  it.each([
    ["hears no loss where its last home had entered by the subscribe that is sent again", 4, true],
    ["is not told that it has everything where it had followed before the subscribe", 3, false],
  ])("%s", async (_promise, enteredUpSequence, recovered) => {
    const after = await at(3);
    await restore(1, { "order:42": after }, { enteredChannel: "order:42", enteredUpSequence });
    edge.subscribe(1, "order:42", after);
    await untilHeard(1, "subscribed order:42");
    const answer = edge.framesOf(1).find(({ body }) => body?.$case === "subscribed");
    expect(answer?.body).toMatchObject({ value: { recovered } });
    expect(edge.heard(1).filter((word) => word.startsWith("orderStatus"))).toEqual(status(4, 5));
  });

  it("is not told that it has everything by a subscribe that is sent again where something is lost since", async () => {
    const after = { epoch: "of-a-lost-store", offset: 2, tag: 0 };
    await restore(1, { "order:42": after }, { enteredChannel: "order:42", enteredUpSequence: 4 });
    edge.subscribe(1, "order:42", after);
    await vi.waitFor(() => expect(edge.heard(1)).toEqual(["subscribed order:42", "subscribed order:42"]));
    expect(edge.framesOf(1).map(({ body }) => body)).toMatchObject(
      [0, 4].map(() => ({ value: { recovered: false } })),
    );
  });

  it("is not told that it has everything where nobody knows where it stood", async () => {
    await restore(1, {}, { enteredChannel: "order:42", enteredUpSequence: 4 });
    edge.subscribe(1, "order:42", await at(3));
    await untilHeard(1, "subscribed order:42");
    expect(edge.framesOf(1)[0]?.body).toMatchObject({ value: { recovered: false } });
  });

  it("tells its next home by which subscribe it has entered, and when it came", async () => {
    const stampUs = core.clock.nowUs() + 60_000_000;
    await restore(1, {}, { channels: [], homeStampUs: stampUs });
    edge.subscribe(1, "order:42", await at(3));
    await untilHeard(1, "orderStatus 5");
    await vi.waitFor(() => {
      const { state } = edge.itemsOf("state").at(-1) ?? { state: new Uint8Array() };
      // Also where its clock is behind that of the home before.
      expect(SessionSnapshot.decode(state)).toMatchObject({
        homeStampUs: stampUs + 1,
        enteredChannel: "order:42",
        enteredUpSequence: 4,
      });
    });
  });

  describe("in a channel whose history is no more", () => {
    const stood = { epoch: "of-yesterday", offset: 3, tag: 9 };
    const snapshot = { channels: ["user:owner", "order:43"] };

    beforeEach(() => core.grant(order("43"), "owner"));

    it("is told of no loss where its time was over", async () => {
      await restore(1, { "order:43": stood }, snapshot);
      await vi.waitFor(() => expect(edge.itemsOf("join").map((join) => join.channel)).toContain("order:43"));
      expect(edge.heard(1)).toEqual([]);
      await core.publish(order("43"));
      await untilHeard(1, "orderStatus 1");
    });

    it("is told where the store has lost it", async () => {
      rebuilding();
      await restore(1, { "order:43": stood }, snapshot);
      await untilHeard(1, "subscribed order:43");
      expect(edge.framesOf(1)[0]?.body).toMatchObject({ value: { recovered: false } });
    });
  });

  it("keeps what it follows while the directory is being rebuilt, and deals with frames at once", async () => {
    rebuilding();
    const past = await at(3);
    await restore(1, { "order:42": past });
    edge.request(1, { $case: "ping", value: { clientTimeMs: 1 } });
    await untilHeard(1, "pong");
    expect(edge.heard(1)).toEqual([...status(4, 5), "pong"]);
  });

  describe("with a channel that the store does not give yet", () => {
    const ping = { $case: "ping", value: { clientTimeMs: 1 } } as const;
    const unsubscribe = { $case: "unsubscribe", value: { channel: "order:42" } } as const;

    beforeEach(async () => {
      edge.open(9, { userId: "owner" });
      edge.subscribe(9, "order:42");
      await untilHeard(9, "subscribed order:42");
      core.broker.failing.add("history");
      await restore(1, { "order:42": await at(2) });
    });

    afterEach(() => vi.useRealTimers());

    /** The next try waits for a timer that the test owns. */
    async function retryOnFakeTimer(): Promise<void> {
      const tries = (): number => core.broker.calls.filter((call) => call === "history").length;
      await vi.waitFor(() => expect(tries()).toBeGreaterThan(0));
      const before = tries();
      vi.useFakeTimers({ toFake: ["setTimeout"] });
      await vi.waitFor(() => expect(tries()).toBeGreaterThan(before));
    }

    it("goes on with its frames, and names the channel to its next home", async () => {
      edge.request(1, ping);
      await untilHeard(1, "pong");
      expect(edge.heard(1)).toEqual(["pong"]);
      edge.say({ $case: "release", value: { session: 1 } });
      await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
      const { state } = edge.itemsOf("released")[0] ?? { state: new Uint8Array() };
      expect(SessionSnapshot.decode(state).channels.sort()).toEqual(["order:42", "user:owner"]);
    });

    it("follows it no more once it has unsubscribed", async () => {
      await retryOnFakeTimer();
      edge.request(1, unsubscribe);
      await untilHeard(1, "unsubscribed order:42");
      const { state } = edge.itemsOf("state").at(-1) ?? { state: new Uint8Array() };
      expect(SessionSnapshot.decode(state).channels).toEqual(["user:owner"]);
      const calls = core.broker.calls.length;
      core.broker.failing.clear();
      await vi.advanceTimersByTimeAsync(1000);
      await core.publish(channel);
      await untilHeard(9, "orderStatus 6");
      expect(edge.heard(1)).toEqual(["unsubscribed order:42"]);
      expect(core.broker.calls.slice(calls)).not.toContain("history");
    });

    it("enters it once where it subscribes meanwhile", async () => {
      edge.subscribe(1, "order:42", await at(2));
      edge.request(1, ping);
      await turn();
      core.broker.failing.clear();
      await untilHeard(1, "pong");
      await core.publish(channel);
      await untilHeard(1, "orderStatus 6");
      expect(edge.heard(1)).toEqual([...status(3, 4, 5), "subscribed order:42", "pong", ...status(6)]);
      expect(
        edge.itemsOf("join").filter((join) => join.session === 1 && join.channel === "order:42"),
      ).toHaveLength(1);
    });

    it("is asked for no more once the session is closed", async () => {
      await retryOnFakeTimer();
      edge.say({ $case: "close", value: { session: 1, reason: "client" } });
      await vi.waitFor(() => expect(core.fanout.sessions).toBe(1), { timeout: 2000 });
      const calls = core.broker.calls.length;
      await vi.advanceTimersByTimeAsync(1000);
      expect(core.broker.calls.slice(calls)).toEqual([]);
    });
  });

  it("goes on with its frames where the last home ended", async () => {
    await restore(1, {});
    const ping = { $case: "ping", value: { clientTimeMs: 1 } } as const;
    edge.request(1, ping);
    await untilHeard(1, "pong");
    await vi.waitFor(() =>
      expect(edge.itemsOf("acknowledge")).toEqual([{ sessions: [1], upSequences: [4] }]),
    );
  });
});
