import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Json } from "./api-client.js";
import { failed } from "./api-client.js";
import { ApiHarness, NOW_MS } from "./api-harness.js";

let harness: ApiHarness;

beforeEach(async () => {
  harness = await ApiHarness.start();
});
afterEach(() => harness.stop());

const WANTED = {
  offer_id: "o1",
  subject_id: "42",
  candidate_ids: ["p1", "p2"],
  data: { fields: { fare: { numberValue: 9.5 } } },
};

async function call(name: string, message: Json): Promise<Record<string, unknown>> {
  const { response } = await harness.client().call("OfferService", name, message);
  return response;
}
const create = (more: Json = {}) => call("CreateOffer", { ...WANTED, ...more });
const worker = { app: "default", userId: "p1", role: "porter" };

describe("CreateOffer", () => {
  it("makes an offer and tells its candidates", async () => {
    const answer = await create();
    expect(answer).toMatchObject({
      repeated: false,
      offer: {
        app: "default",
        offer_id: "o1",
        subject_id: "42",
        mode: "OFFER_MODE_ALL_AT_ONCE",
        state: "OFFER_STATE_OPEN",
        candidates: [
          { user_id: "p1", state: "CANDIDATE_STATE_ASKED" },
          { user_id: "p2", state: "CANDIDATE_STATE_ASKED" },
        ],
        winner_id: "",
        fencing_number: 0,
        created_at_ms: NOW_MS,
        expires_at_ms: NOW_MS + 30_000,
        ended_at_ms: 0,
        reason: "",
        data: { fields: { fare: { numberValue: 9.5 } } },
      },
    });
    for (const user of ["p1", "p2"]) {
      await vi.waitFor(async () =>
        expect(await harness.broker.eventsIn(`user:${user}`)).toMatchObject([
          { body: { $case: "offer", value: { offerId: "o1", subjectId: "42", data: { fare: 9.5 } } } },
        ]),
      );
    }
  });

  it("that is sent again has one effect and the same answer; with another content it is a conflict", async () => {
    const first = await create();
    expect(await create()).toEqual({ ...first, repeated: true });
    const refused = await failed(create({ candidate_ids: ["p1"] }));
    expect(refused.error).toMatchObject({ code: "ERROR_CODE_CONFLICT", field: "offer_id" });
    expect(refused.code).toBe(10);
    await harness.offers.desk.withdraw({ app: "default", offerId: "o1" }, "");
    expect(await create()).toMatchObject({ repeated: true, offer: { state: "OFFER_STATE_WITHDRAWN" } });
  });

  it("asks one after the other, each for their time", async () => {
    const answer = await create({ mode: "OFFER_MODE_ONE_BY_ONE", candidate_time_limit_ms: 20_000 });
    expect(answer["offer"]).toMatchObject({
      candidates: [
        { user_id: "p1", state: "CANDIDATE_STATE_ASKED" },
        { user_id: "p2", state: "CANDIDATE_STATE_WAITING" },
      ],
      expires_at_ms: NOW_MS + 40_000,
    });
  });

  it.each<[string, Json, string]>([
    ["no id", { offer_id: "" }, "offer_id"],
    ["an id that is none", { offer_id: "o/1" }, "offer_id"],
    ["no subject", { subject_id: "" }, "subject_id"],
    ["nobody", { candidate_ids: [] }, "candidate_ids"],
    ["too many", { candidate_ids: Array.from({ length: 101 }, (_, index) => `p${index}`) }, "candidate_ids"],
    ["one twice", { candidate_ids: ["p1", "p1"] }, "candidate_ids"],
    ["a user who is none", { candidate_ids: ["p 1"] }, "candidate_ids"],
    ["a moment", { time_limit_ms: 999 }, "time_limit_ms"],
    ["more than a day", { candidate_time_limit_ms: 86_400_001 }, "candidate_time_limit_ms"],
    ["too large data", { data: { fields: { text: { stringValue: "x".repeat(20_000) } } } }, "data"],
    ["an app that is none", { app: "a b" }, "app"],
    ["an unknown mode", { mode: 7 }, "mode"],
  ])("refuses %s", async (_, more, field) => {
    const refused = await failed(create(more));
    expect(refused.error).toMatchObject({ code: "ERROR_CODE_INVALID_ARGUMENT", field });
  });
});

describe("WithdrawOffer", () => {
  const withdraw = (more: Json = {}) =>
    call("WithdrawOffer", { offer_id: "o1", reason: "sold out", ...more });

  it("ends the offer, and changes nothing when it is sent again", async () => {
    await create();
    const answer = await withdraw();
    expect(answer).toMatchObject({
      offer: { state: "OFFER_STATE_WITHDRAWN", reason: "sold out", ended_at_ms: NOW_MS },
    });
    expect(await withdraw({ reason: "again" })).toEqual(answer);
  });

  it("of one that a worker has is a conflict", async () => {
    await create();
    await harness.offers.desk.accept(worker, "o1");
    expect((await failed(withdraw())).error).toMatchObject({
      code: "ERROR_CODE_CONFLICT",
      message: "the offer is taken",
    });
  });

  it("of one that is not there, or of another app, is not found", async () => {
    await create();
    expect((await failed(withdraw({ offer_id: "o2" }))).error).toMatchObject({
      code: "ERROR_CODE_NOT_FOUND",
    });
    expect((await failed(withdraw({ app: "other" }))).error).toMatchObject({ code: "ERROR_CODE_NOT_FOUND" });
    expect((await failed(withdraw({ reason: "x".repeat(257) }))).error).toMatchObject({ field: "reason" });
  });
});

describe("GetOffer", () => {
  it("says who has it, under which fencing number", async () => {
    await create();
    await harness.offers.desk.accept({ ...worker, userId: "p2" }, "o1");
    const { offer } = await call("GetOffer", { offer_id: "o1" });
    expect(offer).toMatchObject({
      state: "OFFER_STATE_ACCEPTED",
      winner_id: "p2",
      ended_at_ms: NOW_MS,
      candidates: [
        { user_id: "p1", state: "CANDIDATE_STATE_ASKED" },
        { user_id: "p2", state: "CANDIDATE_STATE_ACCEPTED" },
      ],
    });
    expect((offer as { fencing_number: number }).fencing_number).toBeGreaterThan(0);
  });

  it("finds none where there is none", async () => {
    expect((await failed(call("GetOffer", { offer_id: "o1" }))).error).toMatchObject({
      code: "ERROR_CODE_NOT_FOUND",
      field: "offer_id",
    });
  });
});
