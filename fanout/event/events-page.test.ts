import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { OutboxTopics } from "#fanout/channel/outbox-topics.js";
import { OFFER_EVENT_TYPES } from "#fanout/offer/offer-events.js";
import { recordOf, WRITTEN_TYPES } from "#fanout/outbox/outbox-record.js";
import { DEAD_LETTER_HEADERS } from "./dead-letter.js";
import { readRevocationRecord, REVOCATION_TYPES } from "#fanout/revocation/revocation-record.js";
import { readEnvelope } from "./envelope.js";
import { EVENT_TOPICS } from "./event-source-kafka.js";
import { INCOMING_EVENTS, meaningOf } from "./incoming-events.js";

const page = readFileSync(new URL("../../docs/events.md", import.meta.url), "utf8");

function section(heading: string): string {
  return page.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
}

/** The names in the first column of the table under a heading. */
function rowsUnder(heading: string): string[] {
  return [...section(heading).matchAll(/^\| `([^`]+)` +\|/gm)].map(([, name]) => name ?? "");
}

const WRITTEN = section("What is written");
const REVOKED = section("Revoked tokens");

/** Every envelope in a JSON block. */
function examples(text = page.replace(WRITTEN, "").replace(REVOKED, "")): unknown[] {
  return [...text.matchAll(/^```json\n(.*?)^```$/gms)].flatMap(([, block]) => {
    const parsed: unknown = JSON.parse(block ?? "");
    return Array.isArray(parsed) ? (parsed as unknown[]) : [parsed];
  });
}

const MESSAGE = Event.fromPartial({
  timeMs: Date.parse("2026-02-17T10:30:00.000Z"),
  sender: { userId: "p1", role: "porter" },
  correlationId: "order-42",
  traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
});
MESSAGE.body = {
  $case: "chatMessage",
  value: {
    messageId: "m-7",
    content: "I am at the door",
    messageType: "text",
    clientMessageId: "cm-1",
    number: 7,
    recipientId: "u1",
  },
};
const MESSAGE_ENTRY = {
  id: "1-0",
  topic: "chat-events",
  key: "c1",
  eventId: "0f6f3c1e-58a4-4c39-9d5c-5d0c1f4a9b21",
  channel: "default/conversation:c1",
  epoch: "65d0a1f4000c8",
  offset: 9,
  timeMs: 0,
  payload: Event.encode(MESSAGE).finish(),
};

describe("docs/events.md", () => {
  it("lists exactly the types that are mapped", () => {
    expect(rowsUnder("Types that are read").sort()).toEqual([...INCOMING_EVENTS.keys()].sort());
  });

  it.each(examples().map((example): [string, unknown] => [JSON.stringify(example).slice(0, 80), example]))(
    "has an example that is read as it stands: %s",
    (_, example) => {
      const value = Buffer.from(JSON.stringify(example));
      const envelope = readEnvelope({
        topic: "order-events",
        partition: 0,
        offset: 0,
        key: undefined,
        value,
        headers: {},
      });
      expect(meaningOf(envelope, Date.now()).outcome).toBe("actions");
    },
  );

  it("has examples of every family of types", () => {
    const types = examples().map((example) => (example as { type: string }).type.split(".")[0]);
    expect(new Set(types)).toEqual(new Set(["order", "ride", "job", "message", "booking", "notification"]));
  });

  it("lists exactly the types that are written, and every change of an offer", () => {
    const { custom, ...chat } = WRITTEN_TYPES;
    const written = [...Object.values(chat), "offer.{change}", "{type}", "porter.location.updated"];
    expect(custom).toBe("*");
    expect(rowsUnder("What is written").sort()).toEqual(written.sort());
    for (const type of OFFER_EVENT_TYPES) expect(WRITTEN).toContain(`\`${type.replace("offer.", "")}\``);
    for (const topic of new OutboxTopics().topics) expect(page).toContain(`\`${topic}\``);
  });

  it("has an example of a message as it is written, and of a location", () => {
    const [message, location, ...others] = examples(WRITTEN);
    expect(others).toEqual([]);
    expect(location).toMatchObject({ type: "porter.location.updated" });
    expect(message).toEqual(JSON.parse(Buffer.from(recordOf(MESSAGE_ENTRY).value).toString()));
  });

  it("lists what is revoked, with examples that are read as they stand", () => {
    const types = Object.values(REVOCATION_TYPES);
    expect(rowsUnder("Revoked tokens")).toEqual(types);
    const read = examples(REVOKED).map((example) => {
      const value = Buffer.from(JSON.stringify(example));
      const place = { topic: "revocation-events", partition: 0, offset: 0, key: "k", headers: {} };
      return readRevocationRecord({ ...place, value }, 0)?.subject;
    });
    expect(read).toEqual(Object.keys(REVOCATION_TYPES));
  });

  it("names the topics that are read and the headers of a dead letter", () => {
    for (const topic of EVENT_TOPICS) expect(page).toContain(`\`${topic}\``);
    for (const header of Object.values(DEAD_LETTER_HEADERS)) expect(page).toContain(`\`${header}\``);
  });
});
