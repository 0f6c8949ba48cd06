/** What every implementation of the seen-marks port promises, as tests. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { MAX_SINGLES } from "#fanout/chat/mark.js";
import { MAX_SEEN_CHANNELS, type SeenMarks, type SeenOwner } from "./seen-marks.js";

export interface SeenMarksHarness {
  readonly marks: SeenMarks;
  /** Of another process on the same store. */
  readonly others: SeenMarks;
  close(): Promise<void>;
}

export function describeSeenMarks(name: string, makeHarness: () => Promise<SeenMarksHarness>): void {
  describe(name, () => {
    let harness: SeenMarksHarness;
    let owner: SeenOwner;
    let channel: Channel;

    beforeEach(async () => {
      harness = await makeHarness();
      owner = { app: `app-${randomUUID()}`, userId: "u1" };
      channel = channelOf(owner.app, "user", "u1");
    });
    afterEach(() => harness.close());

    const see = (offset: number, more: { upTo?: boolean; epoch?: string; at?: Channel } = {}) =>
      harness.marks.raise(owner, more.at ?? channel, {
        epoch: more.epoch ?? "e1",
        offset,
        upTo: more.upTo ?? false,
      });
    const seen = async (at = channel) => (await harness.others.marks(owner, [at]))[0];

    it("know nothing of who has seen nothing", async () => {
      expect(await harness.marks.marks(owner, [channel, channelOf(owner.app, "role", "porter")])).toEqual([
        undefined,
        undefined,
      ]);
      expect(await harness.marks.marks(owner, [])).toEqual([]);
    });

    it("keep single ones, and all up to one, for every process, and take in what is below", async () => {
      for (const offset of [7, 3, 5, 3]) await see(offset);
      expect(await seen()).toEqual({ epoch: "e1", mark: { upTo: 0, singles: [3, 5, 7] } });
      const { seen: answered } = await see(4, { upTo: true });
      expect(answered).toEqual({ epoch: "e1", mark: { upTo: 5, singles: [7] } });
      expect(await seen()).toEqual(answered);
    });

    it("only grow", async () => {
      await see(9, { upTo: true });
      await see(4, { upTo: true });
      await see(2);
      expect(await seen()).toMatchObject({ mark: { upTo: 9, singles: [] } });
    });

    it("begin anew in another epoch of the channel", async () => {
      await see(9, { upTo: true });
      await see(2, { epoch: "e2" });
      expect(await seen()).toEqual({ epoch: "e2", mark: { upTo: 0, singles: [2] } });
    });

    it("close the lowest gap where there are too many single ones", async () => {
      for (let single = 0; single <= MAX_SINGLES; single++) await see(10 + 2 * single);
      const known = await seen();
      expect(known?.mark.upTo).toBe(10);
      expect(known?.mark.singles).toHaveLength(MAX_SINGLES);
    });

    it("are each user's own, and each channel's", async () => {
      const role = channelOf(owner.app, "role", "porter");
      await see(3, { upTo: true });
      await see(8, { upTo: true, at: role });
      const others = await harness.others.marks({ ...owner, userId: "u2" }, [channel]);
      expect(others).toEqual([undefined]);
      const own = await harness.others.marks(owner, [role, channel]);
      expect(own.map((each) => each?.mark.upTo)).toEqual([8, 3]);
    });

    it("have a version that grows with every call, also of a repeat", async () => {
      const versions: number[] = [];
      for (const offset of [1, 2, 2, 1]) versions.push((await see(offset)).version);
      expect([...new Set(versions)].sort((left, right) => left - right)).toEqual(versions);
    });

    it("lose none of what is marked at the same moment", async () => {
      await Promise.all(
        Array.from({ length: 20 }, (_, index) => {
          const { marks } = index % 2 === 0 ? harness : { marks: harness.others };
          return marks.raise(owner, channel, { epoch: "e1", offset: 2 + 2 * index, upTo: false });
        }),
      );
      expect((await seen())?.mark.singles).toEqual(Array.from({ length: 20 }, (_, index) => 2 + 2 * index));
    });

    it("are kept of so many channels, and forgotten of the one that was marked longest ago", async () => {
      await see(1);
      for (let number = 1; number < MAX_SEEN_CHANNELS; number++)
        await see(1, { at: channelOf(owner.app, "order", `o${number}`) });
      expect(await seen()).toBeDefined();
      const last = channelOf(owner.app, "order", "last");
      await see(1, { at: last });
      expect(await seen(last)).toBeDefined();
      const oldest = channelOf(owner.app, "order", "o1");
      const known = await harness.others.marks(owner, [channel, oldest, last]);
      // Of the two that are oldest one had to go; by the store's clock they may be of one millisecond.
      expect(known.filter((each) => each === undefined)).toHaveLength(1);
      expect(known[2]).toBeDefined();
    });
  });
}
