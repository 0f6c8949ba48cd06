import { describe, expect, it } from "vitest";
import { UnreadableRecord, type SourceRecord } from "#fanout/event/event-source.js";
import type { Revocation } from "./revocation.js";
import { readRevocationRecord, revocationRecord } from "./revocation-record.js";

const NOW_MS = 1_771_324_200_000;
const LIFETIME_MS = 86_400_000;
const TOKEN: Revocation = {
  app: "default",
  subject: "token",
  id: "a b\n{}",
  issuedBeforeMs: 0,
  expiresAtMs: NOW_MS + 5,
};
const USER: Revocation = { ...TOKEN, app: "bikes", subject: "user", id: "u1", issuedBeforeMs: NOW_MS };

function recordOf(value: Uint8Array, headers: Record<string, string> = {}): SourceRecord {
  return { topic: "revocation-events", partition: 0, offset: 0, key: "k", value, headers };
}

const json = (envelope: object) => recordOf(Buffer.from(JSON.stringify(envelope)));
const read = (record: SourceRecord) => readRevocationRecord(record, LIFETIME_MS);

describe("a revocation's record", () => {
  it.each([TOKEN, USER])("says all of it: $subject", (revocation) => {
    const { value, headers } = revocationRecord(revocation, "revocation-events", NOW_MS);
    expect(read(recordOf(value, { ...headers }))).toEqual(revocation);
  });

  it("has a key of its own for each time before which a user's tokens are revoked", () => {
    const keys = [TOKEN, USER, { ...USER, issuedBeforeMs: NOW_MS + 1 }, { ...USER, app: "default" }].map(
      (each) => revocationRecord(each, "t", NOW_MS).key,
    );
    expect(new Set(keys).size).toBe(4);
    const again = revocationRecord({ ...USER, expiresAtMs: NOW_MS + 9 }, "t", NOW_MS + 9);
    expect(again.key).toBe(keys[1]);
  });

  it("of another service follows from when it happened where it leaves times out", () => {
    const occurred = { eventId: "e1", occurredAt: "2026-02-17T10:30:00.400Z" };
    expect(read(json({ ...occurred, type: "user.tokens.revoked", data: { userId: "u1" } }))).toEqual({
      app: "default",
      subject: "user",
      id: "u1",
      issuedBeforeMs: NOW_MS + 1000,
      expiresAtMs: NOW_MS + 400 + LIFETIME_MS,
    });
    expect(read(json({ ...occurred, type: "token.revoked", data: { tokenId: "t1" } }))).toMatchObject({
      issuedBeforeMs: 0,
      expiresAtMs: NOW_MS + 400 + LIFETIME_MS,
    });
  });

  it("of another type is none", () => {
    expect(read(json({ eventId: "e1", type: "user.created", data: {} }))).toBeUndefined();
  });

  it.each([
    ["no id", { type: "token.revoked", occurredAt: NOW_MS, data: {} }],
    [
      "an id that no token has",
      { type: "token.revoked", occurredAt: NOW_MS, data: { tokenId: "x".repeat(257) } },
    ],
    ["a user that is no text", { type: "user.tokens.revoked", occurredAt: NOW_MS, data: { userId: 7 } }],
    ["no time at all", { type: "token.revoked", data: { tokenId: "t1" } }],
    ["half of the times", { type: "user.tokens.revoked", data: { userId: "u1", expiresAt: NOW_MS } }],
    ["a time that is none", { type: "token.revoked", data: { tokenId: "t1", expiresAt: "tomorrow" } }],
  ])("cannot be read with %s", (_what, envelope) => {
    expect(() => read(json({ eventId: "e1", ...envelope }))).toThrow(UnreadableRecord);
  });
});
