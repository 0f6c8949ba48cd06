import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, order } from "#test/support/fanout-core.js";

const channel = order("42");
let core: FanoutCore;
let edge: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  for (const [index, [userId, role]] of [
    ["one", "customer"],
    ["two", "porter"],
    ["boss", "admin"],
  ].entries()) {
    await core.grant(channel, userId ?? "", "owner");
    edge.open(index + 1, { userId: userId ?? "", role: role ?? "" });
    edge.subscribe(index + 1, "order:42");
    await vi.waitFor(() => expect(edge.heard(index + 1)).toContain("subscribed order:42"));
  }
});

afterEach(() => core.stop());

const ended = (session: number): boolean => edge.heard(session).includes("unsubscribed order:42");

describe("a change of who takes part", () => {
  it("ends the subscription of who takes part no more, at once, and of nobody else", async () => {
    await core.participations.end(channel, "one");
    await vi.waitFor(() => expect(ended(1)).toBe(true));
    await core.publish(channel);
    await vi.waitFor(() => expect(edge.heard(2)).toContain("orderStatus 1"));
    expect(edge.heard(1).at(-1)).toBe("unsubscribed order:42");
    expect([ended(2), ended(3)]).toEqual([false, false]);
    const body = edge.framesOf(1).at(-1)?.body;
    expect(body).toMatchObject({ $case: "unsubscribed", value: { reason: 2 } });
  });

  it("leaves admins, who need no part", async () => {
    await core.participations.endAll(channel);
    await vi.waitFor(() => expect([ended(1), ended(2)]).toEqual([true, true]));
    expect(ended(3)).toBe(false);
  });

  it("is asked again until the directory answers: nobody is unsubscribed for a store that is away", async () => {
    const participants = vi.spyOn(core.directory, "recordOf");
    participants.mockRejectedValueOnce(new GatewayError("unavailable", "away"));
    const ending = core.directory.end(channel, "one");
    await ending;
    await core.participations.grant({ channel, userId: "new", relation: "member", expiresAtMs: 2 ** 50 });
    await vi.waitFor(() => expect(participants).toHaveBeenCalled());
    expect(ended(1)).toBe(false);
    await vi.waitFor(() => expect(ended(1)).toBe(true), { timeout: 5000 });
    expect([ended(2), ended(3)]).toEqual([false, false]);
  });

  it("whose signal was lost is found when the way to the store is back", async () => {
    core.broker.way = () => [];
    await core.participations.end(channel, "one");
    expect(ended(1)).toBe(false);
    core.broker.say(channel, { type: "resubscribed" });
    await vi.waitFor(() => expect(ended(1)).toBe(true));
    expect(ended(2)).toBe(false);
  });
});
