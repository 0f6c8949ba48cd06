/** What every implementation of the marks port promises, as tests. The broker on the same store counts messages. */
import { randomUUID } from "node:crypto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import type { Broker } from "#fanout/channel/broker.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { MAX_SINGLES } from "./mark.js";
import type { ChatMarks, MarkKind, MarksRaised, Standing } from "./marks.js";
import { messageIdPrefix } from "./message-id.js";

export interface ChatMarksHarness {
  readonly marks: ChatMarks;
  /** Of another process on the same store. */
  readonly others: ChatMarks;
  readonly broker: Broker;
  close(): Promise<void>;
}

export function describeChatMarks(name: string, makeHarness: () => Promise<ChatMarksHarness>): void {
  describe(name, () => {
    let harness: ChatMarksHarness;
    let marks: ChatMarks;
    let channel: Channel;

    beforeEach(async () => {
      harness = await makeHarness();
      marks = harness.marks;
      channel = channelOf(`app-${randomUUID()}`, "conversation", "c1");
    });
    afterEach(() => harness.close());

    async function say(count: number, senderId = "u1", at = channel): Promise<readonly Standing[]> {
      let standings: readonly Standing[] = [];
      for (let said = 0; said < count; said++) {
        const eventId = randomUUID();
        const message = { body: Buffer.from(""), idPrefix: messageIdPrefix(at) };
        const payload = Buffer.from("");
        const answer = await harness.broker.publish(at, {
          eventId,
          payload,
          idempotencyKey: eventId,
          message,
        });
        const number = ("number" in answer && answer.number) || 0;
        standings = await marks.said(at, { number, senderId, users: ["u1", "u2"] });
      }
      return standings;
    }

    function raise(userId: string, kind: MarkKind, number: number, upTo = true): Promise<MarksRaised> {
      return marks.raise(channel, { userId, kind, number, upTo });
    }

    async function standing(userId: string, at = channel): Promise<Standing | undefined> {
      return (await harness.others.standings([at], userId))[0];
    }

    it("count what others said as unread, and nothing of one's own", async () => {
      expect(await standing("u1")).toMatchObject({ lastNumber: 0, unread: 0, recipientId: "" });
      const standings = await say(3);
      expect(standings).toMatchObject([
        { userId: "u1", lastNumber: 3, unread: 0, readNumber: 3, recipientId: "u2" },
        { userId: "u2", lastNumber: 3, unread: 3, readNumber: 0, recipientId: "u1" },
      ]);
      expect(await standing("u1")).toEqual(standings[0]);
      expect(await standing("u2")).toEqual(standings[1]);
    });

    it("do not take an answer for a sign that what came before it was read", async () => {
      await say(2, "u1");
      await say(2, "u2");
      expect(await standing("u2")).toMatchObject({ unread: 2, readNumber: 0 });
      expect(await standing("u1")).toMatchObject({ unread: 2, readNumber: 2 });
      // Then the mark moves over one's own.
      await raise("u2", "read", 2);
      expect(await standing("u2")).toMatchObject({ unread: 0, readNumber: 4 });
    });

    it("grow, and never go back", async () => {
      await say(5);
      expect(await raise("u2", "read", 4)).toMatchObject({ mark: { upTo: 4 }, standing: { unread: 1 } });
      expect(await raise("u2", "read", 2)).toMatchObject({ mark: { upTo: 4 }, standing: { readNumber: 4 } });
      expect(await raise("u2", "read", 4, false)).toMatchObject({
        mark: { upTo: 4, singles: [] },
        standing: { unread: 1 },
      });
      expect((await standing("u2"))?.readNumber).toBe(4);
    });

    it("take what is read for delivered, and not the other way round", async () => {
      await say(3);
      await raise("u2", "delivered", 3);
      expect(await standing("u2")).toMatchObject({ deliveredNumber: 3, readNumber: 0, unread: 3 });
      await raise("u3", "read", 2);
      expect(await standing("u3")).toMatchObject({ deliveredNumber: 2, readNumber: 2, unread: 1 });
    });

    it("keep single messages above the mark, until it reaches them", async () => {
      await say(6);
      expect(await raise("u2", "read", 5, false)).toMatchObject({
        mark: { upTo: 0, singles: [5] },
        standing: { readNumber: 0, unread: 5 },
      });
      await raise("u2", "read", 3, false);
      await raise("u2", "read", 3, false);
      expect(await standing("u2")).toMatchObject({ readNumber: 0, unread: 4 });
      expect(await raise("u2", "read", 2)).toMatchObject({ standing: { readNumber: 3, unread: 2 } });
      expect(await raise("u2", "read", 4, false)).toMatchObject({
        mark: { upTo: 5, singles: [] },
        standing: { readNumber: 5 },
      });
      expect(await raise("u2", "read", 6, false)).toMatchObject({
        mark: { upTo: 6 },
        standing: { unread: 0 },
      });
    });

    it("close the lowest gap where more single messages are marked than are kept", async () => {
      const last = 2 * (MAX_SINGLES + 1);
      await say(last);
      for (let number = 2; number < last; number += 2) await raise("u2", "read", number, false);
      expect(await standing("u2")).toMatchObject({ readNumber: 0, unread: last - MAX_SINGLES });
      await raise("u2", "read", last, false);
      // The mark is where the lowest of them was; the others stand above it.
      expect(await standing("u2")).toMatchObject({ readNumber: 2, unread: last - 2 - MAX_SINGLES });
    });

    it("give versions that grow with every change of what is unread", async () => {
      const versions: number[] = [];
      const look = async (): Promise<void> => void versions.push((await standing("u2"))?.version ?? -1);
      await look();
      for (const step of [
        () => say(2),
        () => raise("u2", "read", 1),
        () => say(1),
        () => raise("u2", "read", 3),
      ]) {
        await step();
        await look();
      }
      expect(versions).toEqual([...new Set(versions)].sort((left, right) => left - right));
    });

    it("end at the greatest where several processes raise them at once", async () => {
      await say(50);
      const numbers = Array.from({ length: 50 }, (_, index) => ((index * 37) % 50) + 1);
      await Promise.all(
        numbers.map((number, index) => {
          const by = index % 2 === 0 ? marks : harness.others;
          return by.raise(channel, { userId: "u2", kind: "read", number, upTo: index % 3 === 0 });
        }),
      );
      expect(await standing("u2")).toMatchObject({ readNumber: 50, unread: 0 });
    });

    it("are not kept for messages that were never said", async () => {
      await say(2);
      for (const number of [3, 1_000_000_000_000]) {
        await expect(raise("u2", "read", number)).rejects.toThrow(GatewayError);
        await expect(raise("u2", "read", number, false)).rejects.toMatchObject({ kind: "not_found" });
      }
      expect(await standing("u2")).toMatchObject({ readNumber: 0, unread: 2 });
      const empty = channelOf(channel.app, "group", "g1");
      const mark = { userId: "u2", kind: "read", number: 1, upTo: true } as const;
      await expect(marks.raise(empty, mark)).rejects.toMatchObject({ kind: "not_found" });
    });

    it("are each user's and each channel's own, whatever ids users have", async () => {
      const group = channelOf(channel.app, "group", "c1");
      const elsewhere = channelOf(`${channel.app}x`, "conversation", "c1");
      await say(3);
      await say(1, "u1", group);
      const ids = ["u 2", "read:u2", "", "{x}", "é\n", "1 2 3"];
      for (const [index, userId] of ids.entries()) {
        if (userId !== "") await raise(userId, "read", (index % 3) + 1);
      }
      for (const [index, userId] of ids.entries()) {
        const readNumber = userId === "" ? 0 : (index % 3) + 1;
        expect(await standing(userId)).toMatchObject({ userId, readNumber });
      }
      expect(await marks.standings([group, channel, elsewhere], "u2")).toMatchObject([
        { lastNumber: 1, unread: 1 },
        { lastNumber: 3, unread: 3 },
        { lastNumber: 0, unread: 0 },
      ]);
    });

    it("tell of how many users there are marks", async () => {
      await say(1);
      expect((await raise("u2", "delivered", 1)).markedUsers).toBe(2);
      expect((await raise("u2", "read", 1)).markedUsers).toBe(2);
      expect((await raise("u3", "read", 1)).markedUsers).toBe(3);
    });

    it("mark nothing for what the system says", async () => {
      expect(await say(1, "")).toMatchObject([{ unread: 1 }, { unread: 1 }]);
      expect(await marks.said(channel, { number: 1, senderId: "" })).toEqual([]);
    });
  });
}
