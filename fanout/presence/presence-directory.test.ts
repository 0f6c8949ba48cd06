import { beforeEach, describe, expect, it } from "vitest";
import { channelOf, userChannel, type Channel } from "#fanout/channel/channel.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { PartUnknownError, type DirectoryRecord } from "#fanout/directory/directory.js";
import { presenceChannel } from "./presence-channel.js";
import { PresenceDirectory } from "./presence-directory.js";

/** As one that is being rebuilt after a loss. */
class HalfDirectory extends MemoryDirectory {
  isComplete = true;

  override async recordOfUser(app: string, userId: string): Promise<DirectoryRecord> {
    return { ...(await super.recordOfUser(app, userId)), isComplete: this.isComplete };
  }
}

let inner: HalfDirectory;
let directory: PresenceDirectory;
const order = channelOf("app", "order", "42");
const ofU1 = presenceChannel("app", "u1");
const SOON_MS = Date.now() + 60_000;

beforeEach(() => {
  inner = new HalfDirectory();
  directory = new PresenceDirectory(inner);
});

const grant = (channel: Channel, userId: string, expiresAtMs = SOON_MS): Promise<void> =>
  inner.grant({ channel, userId, relation: "member", expiresAtMs });

describe("a part in a user's presence", () => {
  it("is that of who shares a channel with them, for as long as both are in one", async () => {
    await grant(order, "u1", SOON_MS + 5);
    await grant(order, "u2", SOON_MS);
    await grant(channelOf("app", "group", "g"), "u2", SOON_MS + 99);
    expect(await directory.participation(ofU1, "u2")).toMatchObject({ channel: ofU1, expiresAtMs: SOON_MS });
    await grant(channelOf("app", "group", "g"), "u1", SOON_MS + 50);
    expect(await directory.participation(ofU1, "u2")).toMatchObject({ expiresAtMs: SOON_MS + 50 });
    expect(await directory.participation(ofU1, "u3")).toBeUndefined();
    await inner.end(order, "u1");
    await inner.end(channelOf("app", "group", "g"), "u2");
    expect(await directory.participation(ofU1, "u2")).toBeUndefined();
  });

  it("is one's own, and everybody's where it is configured so", async () => {
    expect(await directory.participation(ofU1, "u1")).toMatchObject({ userId: "u1" });
    const open = new PresenceDirectory(inner, "app");
    expect(await open.participation(ofU1, "anybody")).toMatchObject({ userId: "anybody" });
    expect(await open.participation(order, "anybody")).toBeUndefined();
  });

  it("can be granted", async () => {
    await grant(ofU1, "friend");
    expect(await directory.participation(ofU1, "friend")).toMatchObject({ expiresAtMs: SOON_MS });
  });

  it("is nobody's for being told of the same: by the same user's presence, or by the same notifications", async () => {
    for (const channel of [presenceChannel("app", "celebrity"), channelOf("app", "notification", "n1")]) {
      await grant(channel, "u1");
      await grant(channel, "u2");
    }
    expect(await directory.participation(ofU1, "u2")).toBeUndefined();
    expect((await directory.recordOf(ofU1, ["u2"])).ended).toEqual(new Set(["u2"]));
  });

  it("is not denied while the directory is being rebuilt", async () => {
    inner.isComplete = false;
    await expect(directory.participation(ofU1, "u2")).rejects.toThrow(PartUnknownError);
    const record = await directory.recordOf(ofU1, ["u2"]);
    expect([record.parts, record.ended, record.isComplete]).toEqual([[], new Set(), false]);
    await grant(order, "u1");
    await grant(order, "u2");
    expect(await directory.participation(ofU1, "u2")).toBeDefined();
  });

  it("is told of those who are asked about", async () => {
    await grant(order, "u1");
    await grant(order, "u2");
    const record = await directory.recordOf(ofU1, ["u2", "u2", "u3"]);
    expect(record.parts.map(({ userId }) => userId)).toEqual(["u2"]);
    expect(record.ended).toEqual(new Set(["u3"]));
    expect(record.version).toBe((await directory.versions([ofU1]))[0]);
  });

  it("has another version when the user takes part in something else", async () => {
    const channels = [order, ofU1, userChannel("app", "u2")];
    const before = await directory.versions(channels);
    await grant(order, "u1");
    const after = await directory.versions(channels);
    expect(after.map((version, index) => version !== before[index])).toEqual([true, true, false]);
  });
});

it("other channels are the directory's", async () => {
  await directory.grant({ channel: order, userId: "u1", relation: "owner", expiresAtMs: SOON_MS });
  expect(await directory.participation(order, "u1")).toMatchObject({ relation: "owner" });
  expect(await directory.participants(order)).toHaveLength(1);
  expect(await directory.participationsOf("app", "u1")).toHaveLength(1);
  expect((await directory.recordOf(order)).parts).toHaveLength(1);
  expect((await directory.recordOfUser("app", "u1")).parts).toHaveLength(1);
  await directory.end(order, "u1");
  expect(await directory.participation(order, "u1")).toBeUndefined();
});
