import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import {
  arrive,
  comeBack,
  heardOf,
  leave,
  tokenOf,
  untilHeard,
  untilResumed,
  welcomesOf,
} from "#test/support/coming-back.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate, order } from "#test/support/fanout-core.js";

const channel = order("42");
const unavailable = new GatewayError("unavailable", "the store is away");
let core: FanoutCore;
/** Of an edge, linked to a fanout that dies or freezes, and to one that lives on. */
let edge: FakeEdge;
let elsewhere: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  elsewhere = core.edgeElsewhere();
  await core.grant(channel, "owner");
});

afterEach(() => core.stop());

async function publish(count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await core.publish(channel);
}

async function at(offset: number): Promise<Position> {
  const [event] = await core.elsewhere.history(channel, { afterOffset: offset - 1, limit: 1 });
  if (event === undefined) throw new Error("no such event");
  return event.position;
}

/** The owner had one event of the order, left, and three more came. */
async function away(from = edge): Promise<string> {
  const token = await arrive(from, 1, "owner", "order:42");
  await publish(1);
  await untilHeard(from, 1, "orderStatus 1");
  await leave(from, 1);
  await publish(3);
  return token;
}

describe("a home that dies in the middle of a resume", () => {
  it("before anything was said is followed by one that resumes with the same token", async () => {
    const resumeToken = await away();
    const waiting = gate();
    core.broker.answers.set("state", () => waiting.opened);
    const client = { userId: "owner", resumeToken, positions: { "order:42": await at(1) } };
    const resumed = vi.spyOn(core.resumables, "resume");
    comeBack(edge, 2, client);
    await vi.waitFor(() => expect(resumed).toHaveBeenCalledTimes(1));
    edge.destroy("killed");
    comeBack(elsewhere, 2, client);
    await untilResumed(elsewhere, 2);
    waiting.open();
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 1", "2", "3", "4"]);
  });

  it("is followed by one that gives what is missing, and nothing again", async () => {
    const resumeToken = await away();
    const client = { userId: "owner", resumeToken, positions: { "order:42": await at(1) } };
    const { participation } = core.directory;
    const waiting = gate();
    // It hangs in another channel.
    await core.grant(order("43"), "owner");
    vi.spyOn(core.directory, "participation").mockImplementation(async (asked, userId) => {
      if (asked.id === "43") await waiting.opened;
      return participation.call(core.directory, asked, userId);
    });
    const positions = { ...client.positions, "order:43": { epoch: "", offset: 0, tag: 0 } };
    comeBack(edge, 2, { ...client, positions });
    await untilHeard(edge, 2, "orderStatus 4");
    // No state yet, whatever the client does: the frame is not dealt with.
    edge.say({ $case: "confirm", value: { session: 2, positions: { "order:42": await at(4) } } });
    await new Promise((resolve) => setTimeout(resolve, 5));
    expect(edge.itemsOf("state").filter(({ session }) => session === 2)).toEqual([]);
    edge.destroy("killed");
    await publish(1);
    comeBack(elsewhere, 2, { ...client, open: { positions: { "order:42": await at(4) } } });
    waiting.open();
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 4", "5"]);
    expect(welcomesOf(elsewhere, 2)[0]?.sessionId).toBe(welcomesOf(edge, 2)[0]?.sessionId);
  });

  it("does not believe positions of the edge that are of another history", async () => {
    const resumeToken = await away();
    const open = { positions: { "order:42": { epoch: "another", offset: 9, tag: 0 } } };
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, positions: { "order:42": await at(1) }, open });
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 1", "2", "3", "4"]);
  });

  it("after it was done is followed by one that takes the frame as done", async () => {
    const resumeToken = await away();
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilResumed(edge, 2);
    const { state } = edge.itemsOf("state").at(-1) ?? { state: new Uint8Array() };
    expect(SessionSnapshot.decode(state)).toMatchObject({ generation: 2 });
    edge.destroy("killed");
    const positions = { "order:42": await at(4) };
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, open: { state, positions, awaitsResume: false } });
    await vi.waitFor(() =>
      expect(elsewhere.itemsOf("acknowledge")).toContainEqual({ sessions: [2], upSequences: [1] }),
    );
    expect(elsewhere.heard(2)).toEqual([]);
  });
});

describe("a store that is away", () => {
  it.each(["the session", "its channels"])(
    "when it is asked for %s: the client is told, closed, and comes back with the same token",
    async (what) => {
      const resumeToken = await away(elsewhere);
      const failing = vi.spyOn(core.resumables, "resume");
      if (what === "the session") failing.mockRejectedValue(unavailable);
      else core.broker.failing.add("follow");
      for (const session of [2, 3, 4]) {
        comeBack(edge, session, { userId: "owner", resumeToken });
        await untilHeard(edge, session, "error 9");
        await vi.waitFor(() => expect(edge.itemsOf("close").at(-1)).toMatchObject({ session, code: 4003 }));
        expect(edge.heard(session)).toEqual(["error 9"]);
        expect(edge.framesOf(session)[0]?.replyTo).toBe(1);
        await leave(edge, session);
      }
      failing.mockRestore();
      core.broker.isAway = false;
      comeBack(elsewhere, 5, { userId: "owner", resumeToken });
      await untilResumed(elsewhere, 5);
      expect(heardOf(elsewhere, 5, "order:42")).toEqual(["recovered after 0", "1", "2", "3", "4"]);
    },
  );

  it("behind the welcome leaves the next token good, and the one before", async () => {
    const resumeToken = await away();
    core.broker.failing.add("history");
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilHeard(edge, 2, "error 9");
    expect(edge.heard(2)[0]).toBe("welcome");
    core.broker.failing.clear();
    comeBack(elsewhere, 3, { userId: "owner", resumeToken: tokenOf(edge, 2) });
    await untilResumed(elsewhere, 3);
    expect(heardOf(elsewhere, 3, "order:42")).toEqual(["recovered after 0", "1", "2", "3", "4"]);
  });

  it("does not hold up a live session, and has its cursors when it is back", async () => {
    const failing = vi.spyOn(core.resumables, "save").mockRejectedValueOnce(unavailable);
    edge.open(1, { userId: "owner" });
    await vi.waitFor(() => expect(edge.itemsOf("close")).toMatchObject([{ session: 1, code: 4003 }]));
    const resumeToken = await arrive(edge, 2, "owner", "order:42");
    await publish(2);
    await untilHeard(edge, 2, "orderStatus 2");
    failing.mockRejectedValue(unavailable);
    edge.say({ $case: "confirm", value: { session: 2, positions: { "order:42": await at(2) } } });
    await leave(edge, 2);
    failing.mockRestore();
    // Within a second it is tried again.
    const saved = vi.spyOn(core.resumables, "save");
    await vi.waitFor(() => expect(saved).toHaveBeenCalled(), { timeout: 3000 });
    comeBack(elsewhere, 3, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 3);
    expect(heardOf(elsewhere, 3, "order:42")).toEqual(["recovered after 2"]);
  });

  it("that was emptied has all of a live session when it next changes", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    await publish(2);
    await untilHeard(edge, 1, "orderStatus 2");
    const { save } = core.resumables;
    const saves: boolean[] = [];
    vi.spyOn(core.resumables, "save").mockImplementation(async (asked) => {
      saves.push(asked.isWhole);
      return saves.length === 1 ? "missing" : save.call(core.resumables, asked);
    });
    edge.say({ $case: "confirm", value: { session: 1, positions: { "order:42": await at(1) } } });
    await vi.waitFor(() => expect(saves).toContain(true));
    expect(saves.slice(0, 2)).toEqual([false, true]);
    await leave(edge, 1);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 1", "2"]);
  });
});

describe("a home that was frozen and wakes up", () => {
  it("saves nothing over what the next home has saved", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    await publish(3);
    await untilHeard(edge, 1, "orderStatus 3");
    // Its last words wait in a buffer.
    const frozen = gate();
    const { save } = core.resumables;
    const late = vi.spyOn(core.resumables, "save").mockImplementation(async (asked) => {
      if (asked.cursors.get("order:42") === "removed") await frozen.opened;
      return save.call(core.resumables, asked);
    });
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:42" } });
    await vi.waitFor(() => expect(late.mock.calls.at(-1)?.[0].cursors.get("order:42")).toBe("removed"));
    const { state } = edge.itemsOf("state").at(-2) ?? { state: new Uint8Array() };
    elsewhere.open(
      1,
      { userId: "owner" },
      { state, positions: { "order:42": await at(3) }, nextUpSequence: 2 },
    );
    await vi.waitFor(() => expect(elsewhere.itemsOf("join")).toHaveLength(2));
    elsewhere.say({ $case: "confirm", value: { session: 1, positions: { "order:42": await at(3) } } });
    await leave(elsewhere, 1);
    frozen.open();
    await publish(1);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 3", "4"]);
  });
});

describe("a subscribe that is sent again after its home died", () => {
  it("gives nothing again that the socket was given", async () => {
    await publish(4);
    const state = SessionSnapshot.encode({
      ...SessionSnapshot.fromPartial({ sessionId: "s", generation: 1 }),
      channels: ["user:owner"],
    }).finish();
    elsewhere.open(1, { userId: "owner" }, { state, positions: { "order:42": await at(3) } });
    elsewhere.subscribe(1, "order:42", await at(1));
    await untilHeard(elsewhere, 1, "orderStatus 4");
    expect(heardOf(elsewhere, 1, "order:42")).toEqual(["recovered after 3", "4"]);
    // Who asks for it again gets it again.
    elsewhere.request(1, { $case: "unsubscribe", value: { channel: "order:42" } });
    elsewhere.readAtUs = () => core.clock.nowUs();
    elsewhere.subscribe(1, "order:42", await at(2));
    await vi.waitFor(() =>
      expect(heardOf(elsewhere, 1, "order:42").slice(3)).toEqual(["recovered after 2", "3", "4"]),
    );
  });
});
