import { beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { gate, order } from "#test/support/fanout-core.js";
import { channelOf } from "#fanout/channel/channel.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { Participation } from "#fanout/directory/directory.js";
import { WorkerAssignments } from "./worker-assignments.js";

class AskedDirectory extends MemoryDirectory {
  asked = 0;
  isAway = false;
  waits: Promise<void> | undefined;

  override async participationsOf(app: string, userId: string): Promise<readonly Participation[]> {
    this.asked += 1;
    if (this.isAway) throw new GatewayError("unavailable", "away");
    const read = await super.participationsOf(app, userId);
    await this.waits;
    return read;
  }
}

let directory: AskedDirectory;
let assignments: WorkerAssignments;
let nowMs: number;
/** The store's. */
let clockMs: number;

beforeEach(() => {
  nowMs = 1_000_000;
  clockMs = 1_700_000_000_000;
  const clock = { nowUs: () => clockMs * 1000 };
  directory = new AskedDirectory({ clock });
  assignments = new WorkerAssignments({ directory, clock, nowMs: () => nowMs });
});

async function assign(id: string): Promise<void> {
  await directory.grant({ channel: order(id), userId: "p1", relation: "assigned", expiresAtMs: 2 ** 50 });
}

async function names(): Promise<string[]> {
  return (await assignments.of("default", "p1")).map(({ name }) => name);
}

const settle = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));

describe("a worker's assignments", () => {
  it("are read once, and are there at once after that", async () => {
    await assign("1");
    expect(await names()).toEqual(["order:1"]);
    const known = assignments.of("default", "p1");
    expect(known).not.toBeInstanceOf(Promise);
    expect(directory.asked).toBe(1);
  });

  it("are read before the next location after a change", async () => {
    await names();
    await assign("1");
    assignments.changed("default", "p1");
    expect(await names()).toEqual(["order:1"]);
  });

  it("hold while the directory is being rebuilt, but for those that ended; and new ones count", async () => {
    await assign("1");
    await assign("2");
    await names();
    const rebuilding = new MemoryDirectory();
    await rebuilding.grant({ channel: order("3"), userId: "p1", relation: "assigned", expiresAtMs: 2 ** 50 });
    const record = await rebuilding.recordOfUser("default", "p1");
    const read = vi.spyOn(directory, "recordOfUser");
    read.mockResolvedValueOnce({ ...record, ended: new Set(["order:2"]), isComplete: false });
    assignments.changed("default", "p1");
    expect((await names()).sort()).toEqual(["order:1", "order:3"]);
    read.mockResolvedValueOnce(record);
    assignments.changed("default", "p1");
    expect(await names()).toEqual(["order:3"]);
  });

  it("that change while they are read are read again: what was read may be old", async () => {
    const reading = gate();
    directory.waits = reading.opened;
    const first = names();
    await settle();
    await assign("1");
    assignments.changed("default", "p1");
    reading.open();
    expect(await first).toEqual([]);
    expect(await names()).toEqual(["order:1"]);
  });

  it("are read once by many locations at a time", async () => {
    await names();
    assignments.changed("default", "p1");
    const before = directory.asked;
    await Promise.all([names(), names(), names()]);
    expect(directory.asked).toBe(before + 1);
  });

  it("are refreshed in the background after ten seconds, for signals that were lost", async () => {
    await names();
    await assign("1");
    nowMs += 10_001;
    expect(assignments.of("default", "p1")).toEqual([]);
    await settle();
    expect(await names()).toEqual(["order:1"]);
    expect(directory.asked).toBe(2);
  });

  it("of yesterday serve while the store is away, and today's when it is back", async () => {
    await assign("1");
    await names();
    await assign("2");
    assignments.changed("default", "p1");
    directory.isAway = true;
    expect(await names()).toEqual(["order:1"]);
    directory.isAway = false;
    expect(await names()).toEqual(["order:1", "order:2"]);
  });

  it("that were never read cannot be told while the store is away", async () => {
    directory.isAway = true;
    await expect(names()).rejects.toMatchObject({ kind: "unavailable" });
    directory.isAway = false;
    expect(await names()).toEqual([]);
  });

  it("that end by themselves are over at that moment, also while the store is away", async () => {
    await assign("1");
    const endsAtMs = clockMs + 5_000;
    await directory.grant({ channel: order("2"), userId: "p1", relation: "assigned", expiresAtMs: endsAtMs });
    expect(await names()).toEqual(["order:1", "order:2"]);
    directory.isAway = true;
    clockMs = endsAtMs - 1;
    expect(await names()).toEqual(["order:1", "order:2"]);
    clockMs = endsAtMs;
    expect(await names()).toEqual(["order:1"]);
    assignments.changed("default", "p1");
    expect(await names()).toEqual(["order:1"]);
  });

  it("are orders and rides alone: who works in a group or a booking does not tell all there where they are", async () => {
    for (const kind of ["order", "ride", "booking", "group", "conversation", "public"]) {
      const channel = channelOf("default", kind, "1");
      await directory.grant({ channel, userId: "p1", relation: "assigned", expiresAtMs: 2 ** 50 });
    }
    expect((await names()).sort()).toEqual(["order:1", "ride:1"]);
  });

  it("are those where they work, not those that they own; and are forgotten when they leave", async () => {
    await assign("1");
    await directory.grant({ channel: order("2"), userId: "p1", relation: "owner", expiresAtMs: 2 ** 50 });
    expect(await names()).toEqual(["order:1"]);
    assignments.forget("default", "p1");
    expect(assignments.of("default", "p1")).toBeInstanceOf(Promise);
    assignments.changed("default", "nobody");
  });
});
