/** What every broker promises of messages: numbers, ids, and keys that exclude each other. Part of `broker.contract.ts`. */
import { randomUUID } from "node:crypto";
import { describe, expect, it, vi } from "vitest";
import { encode } from "#proto/encode.js";
import { ChatMessage, Event } from "#proto/gen/realtime/client/v1/event.js";
import { messageIdPrefix, readMessageId } from "#fanout/chat/message-id.js";
import type { Broker, BrokerMessage, DurableEvent, PublishAnswer } from "./broker.js";
import { channelOf, type Channel } from "./channel.js";
import { CHANNEL_KINDS } from "./channel-kinds.js";

interface Stage {
  readonly broker: Broker;
  readonly other: Broker;
  readonly order: Channel;
}

export function describeMessages(stage: () => Stage): void {
  describe("messages", () => {
    function said(channel: Channel, content: string, more: Partial<DurableEvent> = {}): DurableEvent {
      const eventId = randomUUID();
      return {
        eventId,
        payload: encode(Event, Event.fromPartial({ id: eventId, channel: channel.name, correlationId: "é" })),
        idempotencyKey: eventId,
        message: {
          body: encode(ChatMessage, ChatMessage.fromPartial({ content, messageType: "text" })),
          idPrefix: messageIdPrefix(channel),
        },
        ...more,
      };
    }

    function happened(text: string, more: Partial<DurableEvent> = {}): DurableEvent {
      return { eventId: text, payload: Buffer.from(text), idempotencyKey: text, ...more };
    }

    const numberOf = (answer: PublishAnswer): number | undefined =>
      answer.outcome === "stale" ? undefined : answer.number;

    async function messagesIn(channel: Channel): Promise<ChatMessage[]> {
      const events = await stage().other.history(channel, { afterOffset: 0, limit: 1000 });
      return events.flatMap(({ payload }) => {
        const { body } = Event.decode(payload);
        return body?.$case === "chatMessage" ? [body.value] : [];
      });
    }

    it("are counted beside the offset, and stored and sent with their number and id", async () => {
      const { broker, other, order } = stage();
      const heard: BrokerMessage[] = [];
      await other.follow(order, (message) => heard.push(message));
      await broker.publish(order, said(order, "one"));
      await broker.publish(order, happened(""));
      const answer = await broker.publish(order, said(order, "two"));
      expect(answer).toMatchObject({ outcome: "published", number: 2, position: { offset: 3 } });
      await vi.waitFor(() => expect(heard).toHaveLength(3), { timeout: 5_000, interval: 5 });
      const stored = await other.history(order, { afterOffset: 2, limit: 1 });
      const [payload, sent] = [stored[0], heard[2]].map((each) =>
        each !== undefined && "payload" in each ? Buffer.from(each.payload) : Buffer.from("nothing"),
      );
      expect(sent).toEqual(payload);
      const event = Event.decode(payload ?? Buffer.from(""));
      expect(event).toMatchObject({ channel: order.name, correlationId: "é" });
      expect(event.body).toMatchObject({ $case: "chatMessage", value: { content: "two", number: 2 } });
      const id = event.body?.$case === "chatMessage" ? event.body.value.messageId : "";
      const position = stored[0]?.position;
      expect(readMessageId(order.app, id)).toEqual({
        channel: order,
        epoch: position?.epoch,
        offset: 3,
        number: 2,
        text: id,
      });
    });

    it("have numbers without a gap or a repeat when 50 are said at once by two brokers", async () => {
      const { broker, other, order } = stage();
      const answers = await Promise.all(
        Array.from({ length: 50 }, (_, index) => {
          // Every third one twice: a repeat takes no number.
          const message = said(order, `m${index}`, {
            idempotencyKey: `key ${Math.floor(index / 3)} ${index % 3 === 2 ? 1 : index % 3}`,
          });
          return (index % 2 === 0 ? broker : other).publish(order, message);
        }),
      );
      const published = answers.filter(({ outcome }) => outcome === "published").map(numberOf);
      const expected = published.map((_, index) => index + 1);
      expect(published.sort((left, right) => (left ?? 0) - (right ?? 0))).toEqual(expected);
      expect((await messagesIn(order)).map(({ number }) => number)).toEqual(expected);
    });

    it("are repeats under either of two keys, with the answer of the first", async () => {
      const { broker, other, order } = stage();
      const first = await broker.publish(order, said(order, "one", { idempotencyKey: "a", secondKey: "b" }));
      const repeated = { ...first, outcome: "repeated" };
      for (const keys of [
        { idempotencyKey: "a" },
        { idempotencyKey: "b" },
        { idempotencyKey: "c", secondKey: "b" },
        { idempotencyKey: "b", secondKey: "a" },
      ]) {
        expect(await other.publish(order, said(order, "again", keys))).toEqual(repeated);
      }
      expect(await messagesIn(order)).toHaveLength(1);
      // "c" was another's key only in a repeat: it is free.
      const next = await other.publish(order, said(order, "two", { idempotencyKey: "c" }));
      expect(next).toMatchObject({ outcome: "published", number: 2 });
    });

    it("can be asked whether they would be repeats, which stores nothing", async () => {
      const { broker, other, order } = stage();
      const mark = (offset: number, index = 0) => ({ sourceMark: { source: "orders/3", offset, index } });
      const keys = { idempotencyKey: "a", secondKey: "b" };
      expect(await other.isRepeat(order, keys)).toBe(false);
      await broker.publish(order, said(order, "one", { ...keys, ...mark(10, 1) }));
      for (const known of [{ idempotencyKey: "b" }, { idempotencyKey: "c", secondKey: "a" }])
        expect(await other.isRepeat(order, known)).toBe(true);
      const another = { idempotencyKey: "c" };
      expect(await other.isRepeat(order, another)).toBe(false);
      for (const sourceMark of [mark(9, 7), mark(10), mark(10, 1)])
        expect(await other.isRepeat(order, { ...another, ...sourceMark })).toBe(true);
      for (const sourceMark of [mark(10, 2), mark(11), { sourceMark: { source: "x", offset: 1, index: 0 } }])
        expect(await other.isRepeat(order, { ...another, ...sourceMark })).toBe(false);
      expect(await messagesIn(order)).toHaveLength(1);
    });

    it("are known under both keys for as long as the history goes", async () => {
      const { broker, order } = stage();
      const kept = CHANNEL_KINDS.get("order")?.historySize ?? 0;
      await broker.publish(order, said(order, "one", { idempotencyKey: "a", secondKey: "b" }));
      for (let index = 1; index < kept; index++) {
        await broker.publish(order, happened(`e${index}`, { secondKey: `second ${index}` }));
      }
      const again = { idempotencyKey: "x", secondKey: "b" };
      expect(await broker.publish(order, said(order, "again", again))).toMatchObject({ outcome: "repeated" });
      await broker.publish(order, happened("one more"));
      expect(await broker.publish(order, said(order, "again", again))).toMatchObject({ number: 2 });
    });

    it("are excluded where an event was published under a key that excludes them, but for repeats", async () => {
      const { broker, other, order } = stage();
      const edit = happened("edit 1", { unlessKey: "delete m1" });
      expect(await broker.publish(order, edit)).toMatchObject({ outcome: "published" });
      await broker.publish(order, happened("delete m1", { secondKey: "request 7" }));
      const late = happened("edit 2", { unlessKey: "delete m1" });
      await expect(other.publish(order, late)).rejects.toMatchObject({ kind: "conflict" });
      const later = happened("edit 3", { unlessKey: "request 7" });
      await expect(other.publish(order, later)).rejects.toMatchObject({ kind: "conflict" });
      expect(await other.publish(order, edit)).toMatchObject({ outcome: "repeated" });
      expect(await other.publish(order, happened("edit 4", { unlessKey: "delete m2" }))).toMatchObject({
        outcome: "published",
        position: { offset: 3 },
      });
    });

    it("are excluded for as long as the history has what they would change", async () => {
      const { broker, order } = stage();
      const kept = CHANNEL_KINDS.get("order")?.historySize ?? 0;
      const late = happened("edit", { unlessKey: "delete m1" });
      await broker.publish(order, said(order, "one"));
      await broker.publish(order, happened("delete m1"));
      for (let index = 2; index < kept; index++) await broker.publish(order, happened(`e${index}`));
      await expect(broker.publish(order, late)).rejects.toMatchObject({ kind: "conflict" });
      // From here on the deletion is not known any more: so the message must be gone too.
      for (let more = 0; more < 2; more++) await broker.publish(order, happened(`more ${more}`));
      const [oldest] = await broker.history(order, { afterOffset: 0, limit: 1 });
      expect(oldest?.position.offset).toBeGreaterThan(1);
      expect(await broker.publish(order, late)).toMatchObject({ outcome: "published" });
    });

    it("go on being counted where the history forked, under ids of the new epoch", async () => {
      const { broker, order } = stage();
      const first = await broker.publish(order, said(order, "one"));
      if (first.outcome === "stale") throw new Error("a position");
      await broker.rotate(order, first.position);
      const second = await broker.publish(order, said(order, "two"));
      expect(second).toMatchObject({ number: 2, position: { offset: 1 } });
      const [message] = await messagesIn(order);
      const id = readMessageId(order.app, message?.messageId ?? "");
      expect(id).toMatchObject({ offset: 1, number: 2 });
      expect(id?.epoch).toBe(second.outcome === "stale" ? "" : second.position.epoch);
    });

    it("of large size and long ids are put together well", async () => {
      const { broker, order } = stage();
      const channel = channelOf(order.app, "conversation", "x".repeat(128));
      for (const length of [100, 127, 128, 16_383, 16_384, 40_000]) {
        await broker.publish(channel, said(channel, "é".repeat(length)));
      }
      const stored = await messagesIn(channel);
      expect(stored.map(({ content }) => content.length)).toEqual([100, 127, 128, 16_383, 16_384, 40_000]);
      for (const [index, { messageId, number }] of stored.entries()) {
        expect(number).toBe(index + 1);
        expect(readMessageId(order.app, messageId)).toMatchObject({ channel, number });
      }
    });
  });
}
