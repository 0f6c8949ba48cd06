import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { Location } from "#proto/gen/realtime/client/v1/event.js";
import { userChannel } from "#fanout/channel/channel.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, gate, location, order } from "#test/support/fanout-core.js";
import { MAX_FOLLOWED_CHANNELS } from "../channel-entry.js";

const channel = order("42");
let core: FanoutCore;
let edge: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  await core.grant(channel, "owner");
});

afterEach(() => core.stop());

/** Until the socket was given this, as its last or somewhere. */
async function untilHeard(session: number, word: string): Promise<void> {
  await vi.waitFor(() => expect(edge.heard(session)).toContain(word));
}

async function open(session: number, userId: string, role = "customer"): Promise<void> {
  edge.open(session, { userId, role });
  await untilHeard(session, `subscribed user:${userId}`);
}

/** What came behind the welcome and the user's own channel. */
function heard(session: number): readonly string[] {
  return edge.heard(session).slice(2);
}

function positionOf(session: number, index: number): Position {
  const body = edge.framesOf(session)[index]?.body;
  const position = body?.$case === "subscribed" || body?.$case === "event" ? body.value.position : undefined;
  if (position === undefined) throw new Error("no position");
  return position;
}

const turn = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 5));

describe("subscribe", () => {
  it("is refused to who has no part, and leaves nothing followed for them", async () => {
    await open(1, "stranger");
    for (let index = 0; index < 3; index += 1) edge.subscribe(1, "order:42");
    await vi.waitFor(() => expect(heard(1)).toEqual(["error 2", "error 2", "error 2"]));
    await core.publish(channel);
    await turn();
    expect(heard(1)).toHaveLength(3);
    expect(edge.itemsOf("join").map((join) => join.channel)).toEqual(["user:stranger"]);
  });

  it.each([
    ["nonsense", 3],
    ["order:", 3],
    ["order:a:b", 3],
    ["order:{x}", 3],
    ["planet:1", 4],
    ["user:somebody", 2],
  ])("to %s is answered with error %i", async (name, code) => {
    await open(1, "owner");
    edge.subscribe(1, name);
    await vi.waitFor(() => expect(heard(1)).toEqual([`error ${code}`]));
  });

  it("follows the channel before it asks for permission", async () => {
    await open(1, "owner");
    const asked = vi.spyOn(core.directory, "participation");
    let wasFollowed = false;
    asked.mockImplementation(async () => {
      wasFollowed = core.broker.follows(channel);
      return undefined;
    });
    edge.subscribe(1, "order:42");
    await untilHeard(1, "error 2");
    expect(wasFollowed).toBe(true);
  });

  it("says subscribed first, then what was missed, then joins, then live events come", async () => {
    for (let index = 0; index < 5; index += 1) await core.publish(channel);
    await open(1, "owner");
    const [stored] = await core.elsewhere.history(channel, { afterOffset: 1, limit: 1 });
    edge.subscribe(1, "order:42", stored?.position);
    await untilHeard(1, "orderStatus 5");
    await core.publish(channel);
    await untilHeard(1, "orderStatus 6");
    expect(heard(1)).toEqual([
      "subscribed order:42",
      ...[3, 4, 5, 6].map((offset) => `orderStatus ${offset}`),
    ]);
    const subscribed = edge.framesOf(1)[2];
    expect(subscribed?.replyTo).toBe(1);
    // "Events up to here are not sent any more": what is replayed stands behind it.
    expect(subscribed?.body).toMatchObject({ value: { recovered: true, position: { offset: 2 } } });
    const cases = edge.items.map(({ $case }) => $case);
    const joined = cases.lastIndexOf("join");
    expect(cases.slice(joined - 4, joined)).toEqual(["frame", "frame", "frame", "frame"]);
    expect(edge.itemsOf("join").at(-1)?.after?.offset).toBe(5);
  });

  it("behind a position whose epoch is no epoch is refused", async () => {
    await open(1, "owner");
    edge.subscribe(1, "order:42", { epoch: "x".repeat(65), offset: 1, tag: 0 });
    await vi.waitFor(() => expect(heard(1)).toEqual(["error 3"]));
  });

  it("without a position starts where the channel stands", async () => {
    for (let index = 0; index < 5; index += 1) await core.publish(channel);
    await open(1, "owner");
    edge.subscribe(1, "order:42");
    await untilHeard(1, "subscribed order:42");
    await core.publish(channel);
    await untilHeard(1, "orderStatus 6");
    expect(heard(1)).toEqual(["subscribed order:42", "orderStatus 6"]);
    expect(positionOf(1, 2).offset).toBe(5);
  });

  it("with a position that history does not reach says so, and goes on with what there is", async () => {
    for (let index = 0; index < 230; index += 1) await core.publish(channel);
    await open(1, "owner");
    const { position } = await core.elsewhere.state(channel);
    edge.subscribe(1, "order:42", { ...position, offset: 3, tag: 0 });
    edge.subscribe(1, "order:43");
    await untilHeard(1, "orderStatus 230");
    expect(edge.framesOf(1)[2]?.body).toMatchObject({ value: { recovered: false } });
    expect(heard(1)[1]).toBe("orderStatus 31");
    await vi.waitFor(() => expect(heard(1)).toHaveLength(1 + 200 + 1));
  });

  it("of a channel that is followed already is answered again and doubles nothing", async () => {
    await open(1, "owner");
    edge.subscribe(1, "order:42");
    edge.subscribe(1, "order:42");
    await vi.waitFor(() => expect(heard(1)).toEqual(["subscribed order:42", "subscribed order:42"]));
    await core.publish(channel);
    await untilHeard(1, "orderStatus 1");
    expect(heard(1)).toHaveLength(3);
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:42" } });
    await untilHeard(1, "unsubscribed order:42");
    await core.publish(channel);
    await turn();
    expect(heard(1)).toHaveLength(4);
  });

  it("is refused beyond the limit of channels", async () => {
    await open(1, "boss", "admin");
    for (let index = 0; index < MAX_FOLLOWED_CHANNELS; index += 1) edge.subscribe(1, `order:${index}`);
    await vi.waitFor(() => expect(heard(1)).toHaveLength(MAX_FOLLOWED_CHANNELS));
    expect(heard(1).filter((word) => word.startsWith("error"))).toEqual(["error 7"]);
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:0" } });
    edge.subscribe(1, "order:last");
    await untilHeard(1, "subscribed order:last");
  });

  it("fails with unavailable while the store is away, and works when it is back", async () => {
    await open(1, "owner");
    core.broker.isAway = true;
    edge.subscribe(1, "order:42");
    await untilHeard(1, "error 9");
    core.broker.isAway = false;
    await vi.waitFor(
      () => {
        edge.subscribe(1, "order:42");
        expect(heard(1)).toContain("subscribed order:42");
      },
      { timeout: 3000, interval: 50 },
    );
  });

  it("gives the value that came while permission and last locations were asked for", async () => {
    await open(1, "owner");
    const asking = gate();
    const participants = vi.spyOn(core.directory, "participants");
    participants.mockImplementation(async () => {
      await asking.opened;
      return [];
    });
    edge.subscribe(1, "order:42");
    await vi.waitFor(() => expect(participants).toHaveBeenCalled());
    await core.publish(channel, location("p1", 7));
    await turn();
    asking.open();
    await untilHeard(1, "subscribed order:42");
    const body = edge.framesOf(1)[2]?.body;
    expect(body?.$case === "subscribed" && body.value.latest.map((event) => event.body?.value)).toMatchObject(
      [{ latitude: 7 }],
    );
  });

  it("gives the last known location of an assigned worker whose location did not come through the channel", async () => {
    await core.grant(channel, "porter", "assigned");
    const payload = Location.encode(
      Location.fromPartial({ workerId: "porter", latitude: 5, longitude: 6, measuredAtMs: 1 }),
    ).finish();
    await core.locations.put([{ app: "default", workerId: "porter", version: 1, payload }]);
    await open(1, "owner");
    edge.subscribe(1, "order:42");
    await untilHeard(1, "subscribed order:42");
    const body = edge.framesOf(1)[2]?.body;
    expect(body?.$case === "subscribed" && body.value.latest.map((event) => event.body?.value)).toMatchObject(
      [{ latitude: 5 }],
    );
  });
});

describe("an event that is published while somebody subscribes", () => {
  it.each(["participation", "history", "state"] as const)(
    "comes once, wherever it falls (%s)",
    async (moment) => {
      for (let index = 0; index < 3; index += 1) await core.publish(channel);
      const [first] = await core.elsewhere.history(channel, { afterOffset: 0, limit: 1 });
      await open(1, "owner");
      const waiting = gate();
      let asked = 0;
      const wait = async (): Promise<void> => {
        asked += 1;
        await waiting.opened;
      };
      if (moment === "participation") {
        const { participation } = core.directory;
        vi.spyOn(core.directory, "participation").mockImplementation(async (...args) => {
          await wait();
          return participation.apply(core.directory, args);
        });
      } else core.broker.answers.set(moment, wait);
      edge.subscribe(1, "order:42", first?.position);
      await vi.waitFor(() => expect(asked).toBeGreaterThan(0));
      await core.publish(channel);
      await core.publish(channel);
      waiting.open();
      // Also in the very turn in which the answer is there.
      await core.publish(channel);
      await Promise.resolve();
      await core.publish(channel);
      await untilHeard(1, "orderStatus 7");
      expect(heard(1)).toEqual([
        "subscribed order:42",
        ...[2, 3, 4, 5, 6, 7].map((offset) => `orderStatus ${offset}`),
      ]);
    },
  );

  it("comes once to each of many who subscribe while many are published", async () => {
    const users = Array.from({ length: 20 }, (_, index) => index + 1);
    for (const user of users) await core.grant(channel, `u${user}`);
    await core.publish(channel);
    const { position } = await core.elsewhere.state(channel);
    const publishing = (async () => {
      for (let index = 0; index < 100; index += 1) {
        await core.publish(channel);
        if (index % 7 === 0) await turn();
      }
    })();
    for (const user of users) {
      edge.open(user, { userId: `u${user}` });
      edge.subscribe(user, "order:42", position);
      await Promise.resolve();
    }
    await publishing;
    const expected = Array.from({ length: 100 }, (_, index) => `orderStatus ${index + 2}`);
    for (const user of users) {
      await untilHeard(user, "orderStatus 101");
      expect(heard(user)).toEqual(["subscribed order:42", ...expected]);
    }
  });
});

describe("a part that ends while somebody subscribes", () => {
  it.each(["history", "participants"] as const)(
    "ends the subscription, wherever it falls (%s)",
    async (moment) => {
      await core.publish(channel);
      await open(1, "owner");
      const waiting = gate();
      let asked = 0;
      const wait = async (): Promise<void> => {
        asked += 1;
        await waiting.opened;
      };
      if (moment === "history") core.broker.answers.set("history", wait);
      else {
        const { participants } = core.directory;
        vi.spyOn(core.directory, "participants").mockImplementation(async (...args) => {
          await wait();
          return participants.apply(core.directory, args);
        });
      }
      edge.subscribe(1, "order:42", { epoch: "", offset: 0, tag: 0 });
      await vi.waitFor(() => expect(asked).toBe(1));
      await core.participations.end(channel, "owner");
      await turn();
      waiting.open();
      await untilHeard(1, "error 2");
      await core.publish(channel);
      await turn();
      expect(heard(1)).toEqual(["error 2"]);
    },
  );
});

describe("unsubscribe", () => {
  it("is answered also where nothing was followed", async () => {
    await open(1, "owner");
    edge.request(1, { $case: "unsubscribe", value: { channel: "order:7" } });
    await vi.waitFor(() => expect(heard(1)).toEqual(["unsubscribed order:7"]));
  });
});

describe("a channel that nobody wants any more", () => {
  let late: FanoutCore;

  beforeEach(async () => {
    vi.useFakeTimers();
    late = new FanoutCore();
    edge = late.edge();
    await late.grant(channel, "owner");
    edge.open(1, { userId: "owner" });
    await settle();
  });

  afterEach(async () => {
    vi.useRealTimers();
    await late.stop();
  });

  const settle = (): Promise<unknown> => vi.advanceTimersByTimeAsync(50);

  /** A while in which the edge lives. */
  async function later(): Promise<void> {
    for (let second = 0; second < 30; second += 1) {
      edge.say({ $case: "status", value: { sequence: second, connections: 1 } });
      await vi.advanceTimersByTimeAsync(1000);
    }
  }

  it.each<[string, () => Promise<void> | void]>([
    ["after a refusal", () => edge.subscribe(1, "order:43")],
    [
      "after unsubscribing",
      () => {
        edge.subscribe(1, "order:42");
        edge.request(1, { $case: "unsubscribe", value: { channel: "order:42" } });
      },
    ],
    [
      "after subscribing twice and the end of the part",
      async () => {
        edge.subscribe(1, "order:42");
        edge.subscribe(1, "order:42");
        await settle();
        await late.participations.end(channel, "owner");
      },
    ],
    [
      "after the store failed",
      () => {
        late.broker.failing.add("state");
        edge.subscribe(1, "order:42");
      },
    ],
  ])("%s is let go, and the user's own stays", async (_when, act) => {
    await Promise.resolve(act());
    await settle();
    expect(late.fanout.followedChannels).toBe(2);
    await later();
    expect(late.fanout.followedChannels).toBe(1);
    expect(late.broker.follows(userChannel("default", "owner"))).toBe(true);
  });

  it("is let go where the socket closed while it subscribed", async () => {
    const waiting = gate();
    late.broker.answers.set("state", () => waiting.opened);
    edge.subscribe(1, "order:42");
    await settle();
    edge.say({ $case: "close", value: { session: 1, reason: "client" } });
    waiting.open();
    await settle();
    expect(late.fanout.sessions).toBe(0);
    await later();
    expect(late.fanout.followedChannels).toBe(0);
  });

  it("is let go where the link ended", async () => {
    edge.subscribe(1, "order:42");
    await settle();
    edge.destroy("gone");
    await later();
    expect([late.fanout.sessions, late.fanout.onlineUsers, late.fanout.followedChannels]).toEqual([0, 0, 0]);
  });

  it("is never one's own, so that nobody hides from being disconnected by unsubscribing", async () => {
    edge.request(1, { $case: "unsubscribe", value: { channel: "user:owner" } });
    await later();
    expect(edge.heard(1).at(-1)).toBe("unsubscribed user:owner");
    expect(late.broker.follows(userChannel("default", "owner"))).toBe(true);
  });
});
