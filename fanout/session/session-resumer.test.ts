import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
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
import { FanoutCore, gate, location, order, status } from "#test/support/fanout-core.js";

const channel = order("42");
const own = userChannel("default", "owner");
let core: FanoutCore;
let edge: FakeEdge;
/** Of another edge, at another fanout. */
let elsewhere: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  elsewhere = core.edgeElsewhere();
  for (const id of ["42", "43"]) await core.grant(order(id), "owner");
});

afterEach(() => core.stop());

async function publish(to: Channel, count: number): Promise<void> {
  for (let index = 0; index < count; index += 1) await core.publish(to);
}

async function at(offset: number, of: Channel = channel): Promise<Position> {
  const [event] = await core.elsewhere.history(of, { afterOffset: offset - 1, limit: 1 });
  if (event === undefined) throw new Error("no such event");
  return event.position;
}

/** The socket has everything up to here. */
function confirm(session: number, positions: Record<string, Position>): void {
  edge.say({ $case: "confirm", value: { session, positions } });
}

/** An event of 100 KB. */
function big(): ReturnType<typeof status> {
  return status("x".repeat(100_000));
}

/** The owner had `given` events of the order, of which `confirmed` were confirmed, left, and `missed` came. */
async function away(events: { given: number; confirmed?: number; missed: number }): Promise<string> {
  const token = await arrive(edge, 1, "owner", "order:42");
  await publish(channel, events.given);
  await untilHeard(edge, 1, `orderStatus ${events.given}`);
  if (events.confirmed !== undefined) confirm(1, { "order:42": await at(events.confirmed) });
  await leave(edge, 1);
  await publish(channel, events.missed);
  return token;
}

describe("a client that comes back", () => {
  it("is welcomed to the session that it had, with the next token, and with its channels", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42", "order:43");
    const [before] = welcomesOf(edge, 1);
    await leave(edge, 1);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, open: { replyTo: 9 } });
    await untilResumed(elsewhere, 2);
    const [first] = elsewhere.framesOf(2);
    expect(first).toMatchObject({
      replyTo: 1,
      body: { value: { connectionId: "connection-2", sessionId: before?.sessionId, resumed: true } },
    });
    expect(tokenOf(elsewhere, 2)).not.toBe(resumeToken);
    expect([...elsewhere.heard(2)].sort()).toEqual([
      "subscribed order:42",
      "subscribed order:43",
      "subscribed user:owner",
      "welcome",
    ]);
    expect(
      elsewhere
        .framesOf(2)
        .slice(1)
        .map(({ replyTo }) => replyTo),
    ).toEqual([0, 0, 0]);
    expect((await core.registry.ofUser("default", "owner")).map(({ sessionId }) => sessionId)).toEqual([
      before?.sessionId,
    ]);
  });

  it("gets each event once after the positions that it gives, in order, before live ones", async () => {
    const resumeToken = await away({ given: 3, confirmed: 1, missed: 3 });
    const waiting = gate();
    core.broker.answers.set("history", () => waiting.opened);
    comeBack(edge, 2, { userId: "owner", resumeToken, positions: { "order:42": await at(3) } });
    await vi.waitFor(() => expect(core.broker.calls).toContain("history"));
    await publish(channel, 2);
    waiting.open();
    await untilHeard(edge, 2, "orderStatus 8");
    expect(heardOf(edge, 2, "order:42")).toEqual(["recovered after 3", "4", "5", "6", "7", "8"]);
  });

  it("without positions gets what was not confirmed again, each event with the id that it had", async () => {
    const resumeToken = await away({ given: 4, confirmed: 2, missed: 2 });
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilHeard(elsewhere, 2, "orderStatus 6");
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 2", "3", "4", "5", "6"]);
    const ids = [edge.framesOf(1), elsewhere.framesOf(2)].map((frames) =>
      frames.flatMap(({ body }) =>
        body?.$case === "event" && body.value.position?.offset === 3 ? [body.value.id] : [],
      ),
    );
    expect(ids[0]).toHaveLength(1);
    expect(ids[0]).toEqual(ids[1]);
  });

  it("that confirmed nothing gets everything since it joined", async () => {
    await publish(channel, 2);
    const resumeToken = await away({ given: 4, missed: 1 });
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilHeard(elsewhere, 2, "orderStatus 7");
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 2", "3", "4", "5", "6", "7"]);
  });

  it("gets what came to its own channel, before what comes", async () => {
    const resumeToken = await arrive(edge, 1, "owner");
    await leave(edge, 1);
    await publish(own, 3);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilHeard(elsewhere, 2, "orderStatus 3");
    await publish(own, 1);
    await untilHeard(elsewhere, 2, "orderStatus 4");
    expect(elsewhere.heard(2)).toEqual([
      "welcome",
      "subscribed user:owner",
      ...[1, 2, 3, 4].map((offset) => `orderStatus ${offset}`),
    ]);
  });

  it("follows what it gives a position of, whether the session followed it or not", async () => {
    await publish(order("43"), 3);
    const resumeToken = await arrive(edge, 1, "owner");
    await leave(edge, 1);
    const positions = { "order:43": await at(1, order("43")) };
    comeBack(edge, 2, { userId: "owner", resumeToken, positions });
    await untilHeard(edge, 2, "orderStatus 3");
    expect(heardOf(edge, 2, "order:43")).toEqual(["recovered after 1", "2", "3"]);
  });

  it("gets the newest values with what it follows", async () => {
    const resumeToken = await away({ given: 1, missed: 1 });
    await core.publish(channel, location("p1", 7));
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilHeard(elsewhere, 2, "orderStatus 2");
    const said = elsewhere
      .framesOf(2)
      .flatMap(({ body }) => (body?.$case === "subscribed" ? body.value.latest : []));
    expect(said.map(({ body }) => body?.value)).toMatchObject([{ latitude: 7 }]);
  });

  it("is told where its part has ended, and is not told again", async () => {
    const resumeToken = await away({ given: 1, missed: 1 });
    await core.participations.end(channel, "owner");
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, positions: { "order:42": await at(1) } });
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["ended 2"]);
    await leave(elsewhere, 2);
    comeBack(edge, 3, { userId: "owner", resumeToken: tokenOf(elsewhere, 2) });
    await untilResumed(edge, 3);
    expect([...edge.heard(3)]).toEqual(["welcome", "subscribed user:owner"]);
  });

  it("is told nothing of what it had unsubscribed from", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42", "order:43");
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:42" } });
    await untilHeard(edge, 1, "unsubscribed order:42");
    await leave(edge, 1);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    expect([...elsewhere.heard(2)].sort()).toEqual([
      "subscribed order:43",
      "subscribed user:owner",
      "welcome",
    ]);
  });

  it.each([
    ["that history does not reach", 215, () => at(1)],
    ["of a history that is lost", 2, async () => ({ epoch: "of-a-lost-store", offset: 1, tag: 0 })],
  ])("from a position %s is told that events are lost", async (_which, missed, position) => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    await publish(channel, 1);
    const positions = { "order:42": await position() };
    await leave(edge, 1);
    await publish(channel, missed);
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, positions });
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")[0]).toMatch(/^lost/);
  });

  it("without positions is told again that events are lost, until it has confirmed something newer", async () => {
    const resumeToken = await away({ given: 2, confirmed: 2, missed: 215 });
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilResumed(edge, 2);
    expect(heardOf(edge, 2, "order:42")[0]).toBe("lost after 2");
    await leave(edge, 2);
    comeBack(edge, 3, { userId: "owner", resumeToken });
    await untilResumed(edge, 3);
    expect(heardOf(edge, 3, "order:42")[0]).toBe("lost after 2");
    confirm(3, { "order:42": await at(217) });
    await leave(edge, 3);
    comeBack(edge, 4, { userId: "owner", resumeToken: tokenOf(edge, 3) });
    await untilResumed(edge, 4);
    expect(heardOf(edge, 4, "order:42")).toEqual(["recovered after 217"]);
  });

  it("with too much to replay at once is told so of some channels, and loses none silently", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42", "order:43");
    await leave(edge, 1);
    for (const id of ["42", "43"]) {
      for (let index = 0; index < 4; index += 1) await core.publish(order(id), big());
    }
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    const heard = ["order:42", "order:43"].map((name) => heardOf(elsewhere, 2, name));
    heard.sort((left, right) => right.length - left.length);
    expect(heard).toEqual([["recovered after 0", "1", "2", "3", "4"], ["lost after 4"]]);
  });
});

it("what is read twice, because permission may have changed meanwhile, counts once", async () => {
  const resumeToken = await arrive(edge, 1, "owner", "order:42");
  await leave(edge, 1);
  for (let index = 0; index < 3; index += 1) await core.publish(channel, big());
  let hasChanged = false;
  core.broker.answers.set("history", async () => {
    if (!hasChanged) await core.grant(channel, "another");
    hasChanged = true;
  });
  comeBack(edge, 2, { userId: "owner", resumeToken });
  await untilResumed(edge, 2);
  expect(core.broker.calls.filter((operation) => operation === "history")).toHaveLength(2);
  expect(heardOf(edge, 2, "order:42")).toEqual(["recovered after 0", "1", "2", "3"]);
});

it("a loss that was told is told again until something behind it is confirmed", async () => {
  const resumeToken = await arrive(edge, 1, "owner", "order:42");
  await leave(edge, 1);
  for (let index = 0; index < 6; index += 1) await core.publish(channel, big());
  comeBack(elsewhere, 2, { userId: "owner", resumeToken });
  await untilResumed(elsewhere, 2);
  expect(heardOf(elsewhere, 2, "order:42")).toEqual(["lost after 6"]);
  await leave(elsewhere, 2);
  comeBack(edge, 3, { userId: "owner", resumeToken: tokenOf(elsewhere, 2) });
  await untilResumed(edge, 3);
  expect(heardOf(edge, 3, "order:42")).toEqual(["lost after 6"]);
});

it("a position that was found to be none is not kept as the session's, and the same loss is found again", async () => {
  await publish(channel, 2);
  const saving = vi.spyOn(core.resumables, "save");
  edge.open(1, { userId: "owner" });
  edge.subscribe(1, "order:42", { epoch: "invented", offset: 7, tag: 3 });
  await untilHeard(edge, 1, "subscribed order:42");
  await leave(edge, 1);
  await vi.waitFor(() => {
    const saved = saving.mock.calls.map(([save]) => save.cursors.get("order:42"));
    expect(saved.filter((cursor) => cursor !== undefined).at(-1)).toBe("unknown");
  });
  comeBack(elsewhere, 2, { userId: "owner", resumeToken: tokenOf(edge, 1) });
  await untilResumed(elsewhere, 2);
  expect(heardOf(elsewhere, 2, "order:42")).toEqual(["lost after 2"]);
  await leave(elsewhere, 2);
  // What was told to nobody who has it is told again, also of a channel without a cursor.
  comeBack(edge, 3, { userId: "owner", resumeToken: tokenOf(elsewhere, 2) });
  await untilResumed(edge, 3);
  expect(heardOf(edge, 3, "order:42")).toEqual(["lost after 2"]);
});

describe("what a client has confirmed", () => {
  it("counts only for channels that the session follows", async () => {
    const resumeToken = await away({ given: 2, missed: 0 });
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilResumed(edge, 2);
    await publish(order("43"), 1);
    confirm(2, { "order:43": await at(1, order("43")), nonsense: await at(1) });
    await leave(edge, 2);
    comeBack(edge, 3, { userId: "owner", resumeToken: tokenOf(edge, 2) });
    await untilResumed(edge, 3);
    expect(heardOf(edge, 3, "order:43")).toEqual([]);
  });

  it("is saved while the session lives, without a word of it to the client", async () => {
    const saved = vi.spyOn(core.resumables, "save");
    await arrive(edge, 1, "owner", "order:42");
    await publish(channel, 2);
    await untilHeard(edge, 1, "orderStatus 2");
    const heard = edge.heard(1).length;
    confirm(1, { "order:42": await at(2) });
    await vi.waitFor(() =>
      expect(saved.mock.calls.at(-1)?.[0].cursors.get("order:42")).toMatchObject({ offset: 2 }),
    );
    expect(edge.heard(1)).toHaveLength(heard);
  });

  it("stays known over a move to another home, which saves what it changes", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42", "order:43");
    await publish(channel, 2);
    await untilHeard(edge, 1, "orderStatus 2");
    confirm(1, { "order:42": await at(2) });
    edge.say({ $case: "release", value: { session: 1 } });
    await vi.waitFor(() => expect(edge.itemsOf("released")).toHaveLength(1));
    const { state } = edge.itemsOf("released")[0] ?? { state: new Uint8Array() };
    const positions = { "order:42": await at(2) };
    elsewhere.open(1, { userId: "owner" }, { state, positions, nextUpSequence: 3, awaitsResume: true });
    elsewhere.request(1, { $case: "unsubscribe", value: { channel: "order:43" } });
    await untilHeard(elsewhere, 1, "unsubscribed order:43");
    await leave(elsewhere, 1);
    await publish(channel, 1);
    comeBack(edge, 2, { userId: "owner", resumeToken });
    await untilResumed(edge, 2);
    expect(heardOf(edge, 2, "order:42")).toEqual(["recovered after 2", "3"]);
    expect(heardOf(edge, 2, "order:43")).toEqual([]);
  });
});
