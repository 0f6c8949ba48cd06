import { beforeEach, expect, it, onTestFinished, vi } from "vitest";
import { order, SILENT } from "#test/support/fanout-core.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import { UnreliableBroker } from "#test/support/unreliable-broker.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { FollowedChannel } from "#fanout/channel/followed-channel.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { GrantedRelations } from "#fanout/policy/relations.js";
import { FanoutCounters } from "../fanout-counters.js";
import { OwnParticipations } from "./own-participations.js";

const channel = order("42");
let nowMs: number;
let directory: MemoryDirectory;
let broker: UnreliableBroker;
let participations: OwnParticipations;
let session: ReturnType<typeof rememberedSession>["session"];

beforeEach(async () => {
  nowMs = 1_000;
  const clock = { nowUs: () => nowMs * 1000 };
  directory = new MemoryDirectory({ clock });
  await directory.grant({ channel, userId: "p1", relation: "assigned", expiresAtMs: 5_000 });
  ({ session } = rememberedSession({ handle: () => undefined }));
  participations = new OwnParticipations({ relations: new GrantedRelations({ directory }), clock });
  broker = new UnreliableBroker(new MemoryBroker());
});

function follow(): FollowedChannel {
  const nothing = (): void => undefined;
  const followed = new FollowedChannel({
    channel,
    broker,
    counters: new FanoutCounters(),
    logger: SILENT,
    onSignal: nothing,
    onInterrupted: nothing,
  });
  onTestFinished(() => followed.close());
  session.follows.set(channel.key, followed);
  return followed;
}

const relation = async () => (await participations.of(session, channel))?.relation;

it("a part in a followed channel is read once, and again behind each signal", async () => {
  const followed = follow();
  await followed.active();
  const asked = vi.spyOn(directory, "participation");
  expect([await relation(), await relation()]).toEqual(["assigned", "assigned"]);
  expect(asked).toHaveBeenCalledTimes(1);
  await directory.end(channel, "p1");
  followed.hear({ type: "signal", signal: new Uint8Array() });
  expect([await relation(), await relation()]).toEqual([undefined, undefined]);
  expect(asked).toHaveBeenCalledTimes(2);
  followed.hear({ type: "resubscribed" });
  await relation();
  expect(asked).toHaveBeenCalledTimes(3);
});

it("a part is read again where the session goes on with another token", async () => {
  await follow().active();
  await directory.grant({ channel, userId: "merchant:r1", relation: "merchant", expiresAtMs: 5_000 });
  const relations = new GrantedRelations({ directory, merchantClaim: "restaurant" });
  participations = new OwnParticipations({ relations, clock: { nowUs: () => nowMs * 1000 } });
  const principal = { ...session.principal, userId: "m1", role: "merchant" };
  session.refresh({ ...principal, claimsJson: '{"restaurant":"r1"}' });
  expect(await relation()).toBe("merchant");
  session.refresh({ ...principal, claimsJson: '{"restaurant":"r2"}' });
  expect(await relation()).toBeUndefined();
});

it("a signal that comes while the directory is asked puts the answer in doubt", async () => {
  const followed = follow();
  await followed.active();
  const asked = vi.spyOn(directory, "participation");
  const asking = participations.of(session, channel);
  followed.hear({ type: "signal", signal: new Uint8Array() });
  await asking;
  await relation();
  expect(asked).toHaveBeenCalledTimes(2);
});

it("a part that ends by itself is over at its time", async () => {
  const followed = follow();
  await followed.active();
  expect(await relation()).toBe("assigned");
  nowMs = 5_000;
  expect(await relation()).toBeUndefined();
});

it("a part is read each time while no signal would be heard", async () => {
  const asked = vi.spyOn(directory, "participation");
  // The store was away when the session came here.
  broker.failing.add("follow");
  await expect(follow().active()).rejects.toMatchObject({ kind: "unavailable" });
  expect([await relation(), await relation()]).toEqual(["assigned", "assigned"]);
  session.follows.delete(channel.key);
  await relation();
  await relation();
  expect(asked).toHaveBeenCalledTimes(4);
});
