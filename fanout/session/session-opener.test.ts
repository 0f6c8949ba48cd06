import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
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
async function restore(session: number, positions: Readonly<Record<string, Position>>): Promise<void> {
  const channels = ["user:owner", "order:42", "order:42"];
  const state = SessionSnapshot.encode({
    sessionId: "s",
    channels,
    upSequence: 3,
    sampleCounter: 4,
    generation: 1,
    isGenerationConfirmed: false,
  }).finish();
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

const turn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5));
const status = (...offsets: readonly number[]): string[] => offsets.map((offset) => `orderStatus ${offset}`);

describe("a session from another home", () => {
  it("gets what it missed and no word more, and then live events", async () => {
    await restore(1, { "order:42": await at(3) });
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

  it("hears no loss where its last home had dealt with a subscribe that is sent again", async () => {
    const after = await at(3);
    await restore(1, { "order:42": after });
    edge.subscribe(1, "order:42", after);
    await untilHeard(1, "subscribed order:42");
    const answer = edge.framesOf(1).find(({ body }) => body?.$case === "subscribed");
    expect(answer?.body).toMatchObject({ value: { recovered: true } });
    expect(edge.heard(1).filter((word) => word.startsWith("orderStatus"))).toEqual(status(4, 5));
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
