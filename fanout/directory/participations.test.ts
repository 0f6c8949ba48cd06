import { beforeEach, describe, expect, it } from "vitest";
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import { order } from "#test/support/fanout-core.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { userChannel } from "#fanout/channel/channel.js";
import { MemoryDirectory } from "./directory-memory.js";
import { Participations } from "./participations.js";

const channel = order("42");
let directory: MemoryDirectory;
let broker: UnreliableBroker;
let participations: Participations;
/** Where a signal was heard, and whether the change was to be read by then. */
let heard: string[];

beforeEach(async () => {
  directory = new MemoryDirectory();
  broker = new UnreliableBroker(new MemoryBroker());
  participations = new Participations({ directory, broker });
  heard = [];
  for (const followed of [channel, userChannel("default", "u1"), userChannel("default", "u2")]) {
    await broker.follow(followed, (message) => {
      if (message.type !== "signal") return;
      if (Signal.decode(message.signal).kind !== SignalKind.SIGNAL_KIND_MEMBERS_CHANGED) return;
      heard.push(followed.name);
    });
  }
});

const settle = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));
const participation = (userId: string) =>
  ({ channel, userId, relation: "owner", expiresAtMs: 2 ** 50 }) as const;

describe("a change of who takes part", () => {
  it("is told to the channel and to the user, after it can be read", async () => {
    await participations.grant(participation("u1"));
    expect(await directory.participation(channel, "u1")).toMatchObject({ relation: "owner" });
    await settle();
    expect(heard.sort()).toEqual(["order:42", "user:u1"]);
    heard = [];
    await participations.end(channel, "u1");
    expect(await directory.participation(channel, "u1")).toBeUndefined();
    await settle();
    expect(heard.sort()).toEqual(["order:42", "user:u1"]);
  });

  it("for everybody ends each one's part", async () => {
    await participations.grant(participation("u1"));
    await participations.grant(participation("u2"));
    await participations.endAll(channel);
    expect(await directory.participants(channel)).toEqual([]);
    await settle();
    expect(heard.filter((name) => name === "user:u2")).toHaveLength(2);
  });

  it("that could not be told fails, and may be repeated", async () => {
    broker.failing.add("tell");
    await expect(participations.grant(participation("u1"))).rejects.toMatchObject({ kind: "unavailable" });
    broker.failing.clear();
    await participations.grant(participation("u1"));
    await settle();
    expect(heard.sort()).toEqual(["order:42", "user:u1"]);
  });
});
