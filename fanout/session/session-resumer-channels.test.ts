import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { arrive, comeBack, heardOf, leave, untilHeard, untilResumed } from "#test/support/coming-back.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, order } from "#test/support/fanout-core.js";
import type { SessionSave } from "./resumable-sessions.js";

const ZERO = { epoch: "", offset: 0, tag: 0 };
let core: FanoutCore;
let edge: FakeEdge;
let elsewhere: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  elsewhere = core.edgeElsewhere();
  for (const id of ["42", "43"]) await core.grant(order(id), "owner");
});

afterEach(() => core.stop());

describe("while the directory is being rebuilt", () => {
  const isKnown = (asked: Channel): boolean => asked.kind === "user";

  it("a session is resumed with what it followed, and without what only the client says that it did", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    await leave(edge, 1);
    await core.publish(order("42"));
    const { participation } = core.directory;
    vi.spyOn(core.directory, "participation").mockImplementation((asked, userId) =>
      isKnown(asked)
        ? participation.call(core.directory, asked, userId)
        : Promise.reject(new PartUnknownError()),
    );
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, positions: { "order:43": ZERO } });
    await untilResumed(elsewhere, 2);
    expect(heardOf(elsewhere, 2, "order:42")).toEqual(["recovered after 0", "1"]);
    expect(heardOf(elsewhere, 2, "order:43")).toEqual(["ended 2"]);
    expect(elsewhere.itemsOf("close")).toEqual([]);
    // A subscribe is not a subscription yet.
    elsewhere.subscribe(2, "order:43");
    await untilHeard(elsewhere, 2, "error 9");
  });

  it("is checked when it is known again who takes part", async () => {
    const resumeToken = await arrive(edge, 1, "owner", "order:42");
    await leave(edge, 1);
    const unknown = vi.spyOn(core.directory, "participation").mockRejectedValue(new PartUnknownError());
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    unknown.mockRestore();
    await core.participations.end(order("42"), "owner");
    await untilHeard(elsewhere, 2, "unsubscribed order:42");
  });
});

describe("a session that would follow too many channels", () => {
  /** The session followed this many channels beside its own. */
  async function away(count: number): Promise<string> {
    const save = vi.spyOn(core.resumables, "save");
    const resumeToken = await arrive(edge, 1, "owner");
    const first = save.mock.calls[0]?.[0];
    save.mockRestore();
    if (first === undefined) throw new Error("nothing was saved");
    const names = Array.from({ length: count }, (_, index) => `order:many-${index}`);
    for (const name of names) await core.grant(order(name.slice("order:".length)), "owner");
    const cursors: SessionSave["cursors"] = new Map([
      ["user:owner", ZERO],
      ...names.map((name) => [name, ZERO] as const),
    ]);
    await core.resumables.save({ ...first, cursors, isWhole: true });
    return resumeToken;
  }

  it("is resumed with those that the client names first, and told of the rest", async () => {
    const resumeToken = await away(255);
    const positions = { "order:42": ZERO, "order:43": ZERO };
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, positions });
    await untilResumed(elsewhere, 2);
    const words = elsewhere.heard(2).map((word) => word.split(" ")[0]);
    expect(words.filter((word) => word === "subscribed")).toHaveLength(256);
    expect(words.filter((word) => word === "unsubscribed")).toHaveLength(2);
    for (const name of Object.keys(positions)) {
      expect(heardOf(elsewhere, 2, name)).toEqual(["recovered after 0"]);
    }
  });

  it("is not taken from the connection that has it where the client itself names too many", async () => {
    const resumeToken = await arrive(edge, 1, "owner");
    const resume = vi.spyOn(core.resumables, "resume");
    const positions = Object.fromEntries(
      Array.from({ length: 256 }, (_, index) => [`order:many-${index}`, { ...ZERO }]),
    );
    comeBack(elsewhere, 2, { userId: "owner", resumeToken, positions });
    await untilHeard(elsewhere, 2, "error 3");
    expect(resume).not.toHaveBeenCalled();
    expect(edge.itemsOf("close")).toEqual([]);
  });

  it("enters them a few at a time", async () => {
    const resumeToken = await away(40);
    let atOnce = 0;
    let most = 0;
    const { participation } = core.directory;
    vi.spyOn(core.directory, "participation").mockImplementation(async (asked, userId) => {
      atOnce += 1;
      most = Math.max(most, atOnce);
      await new Promise((resolve) => setImmediate(resolve));
      atOnce -= 1;
      return participation.call(core.directory, asked, userId);
    });
    comeBack(elsewhere, 2, { userId: "owner", resumeToken });
    await untilResumed(elsewhere, 2);
    expect(most).toBeGreaterThan(1);
    expect(most).toBeLessThanOrEqual(8);
    expect(heardOf(elsewhere, 2, userChannel("default", "owner").name)).toEqual(["recovered after 0"]);
  });
});

it("a claim that a later home has overtaken is told as a store that is away, and changes nothing", async () => {
  const resumeToken = await arrive(edge, 1, "owner");
  vi.spyOn(core.resumables, "resume").mockResolvedValueOnce({ outcome: "superseded" });
  comeBack(elsewhere, 2, { userId: "owner", resumeToken });
  await untilHeard(elsewhere, 2, "error 9");
  await vi.waitFor(() => expect(elsewhere.itemsOf("close")).toMatchObject([{ session: 2, code: 4003 }]));
  expect(edge.itemsOf("close")).toEqual([]);
  comeBack(elsewhere, 3, { userId: "owner", resumeToken });
  await untilResumed(elsewhere, 3);
});
