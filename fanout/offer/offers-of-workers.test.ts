/** Offers as workers meet them: on a whole fanout on memory stores, through its links. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { OfferState } from "#proto/gen/realtime/client/v1/event.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore } from "#test/support/fanout-core.js";
import type { OfferRequest } from "./offer-request.js";

let core: FanoutCore;
let edge: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
});
afterEach(() => core.stop());

const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 5 });

async function open(session: number, userId: string, role = "porter"): Promise<void> {
  edge.open(session, { userId, role });
  await until(() => expect(edge.heard(session)).toContain(`subscribed user:${userId}`));
}

const offer = (more: Partial<OfferRequest> = {}) =>
  core.fanout.offers.desk.create({
    app: "default",
    offerId: "o1",
    subjectId: "42",
    mode: "all_at_once",
    candidates: ["p1", "p2"],
    timeLimitMs: 0,
    candidateTimeLimitMs: 0,
    data: { fare: 9.5 },
    correlationId: "order-42",
    traceparent: "",
    ...more,
  });

/** What the session was told of offers: states with the event's offset, or none. */
function told(session: number): string[] {
  return edge.framesOf(session).flatMap(({ body }) => {
    if (body?.$case !== "event" || body.value.body?.$case !== "offer") return [];
    const { offerId, state } = body.value.body.value;
    return [`${offerId} ${state} ${body.value.position?.offset ?? "-"}`];
  });
}
const OPEN = OfferState.OFFER_STATE_OPEN;
const states = (session: number): string[] => told(session).map((each) => each.split(" ")[1] ?? "");

function accept(session: number, offerId = "o1"): void {
  edge.request(session, { $case: "offerAccept", value: { offerId } });
}

function answers(session: number): (string | ErrorCode)[] {
  return edge.framesOf(session).flatMap(({ body }): (string | ErrorCode)[] => {
    if (body?.$case === "reply") return [`${body.value.id} ${body.value.timeMs > 0 ? "stored" : "-"}`];
    return body?.$case === "error" ? [body.value.code] : [];
  });
}

describe("a worker", () => {
  it("hears of offers on all devices, wins or loses, and gets the same answer again", async () => {
    await open(1, "p1");
    await open(2, "p1");
    await open(3, "p2");
    await offer();
    for (const session of [1, 2, 3]) await until(() => expect(told(session)).toHaveLength(1));
    accept(1);
    accept(3);
    await until(() => expect([...answers(1), ...answers(3)]).toHaveLength(2));
    expect(answers(1)).toEqual(["o1 stored"]);
    expect(answers(3)).toEqual([ErrorCode.ERROR_CODE_CONFLICT]);
    for (const session of [1, 2, 3]) await until(() => expect(told(session)).toHaveLength(2));
    expect(told(1)).toEqual(told(2));
    expect(states(1).at(-1)).not.toBe(states(3).at(-1));
    accept(2);
    await until(() => expect(answers(2)).toEqual(["o1 stored"]));
  });

  it("who rejects hears so on the other devices, and may not take it any more", async () => {
    await open(1, "p1");
    await open(2, "p1");
    await offer();
    await until(() => expect(told(1)).toHaveLength(1));
    edge.request(1, { $case: "offerReject", value: { offerId: "o1", reason: "too far" } });
    await until(() => expect(told(2)).toHaveLength(2));
    accept(2);
    await until(() => expect(answers(2)).toEqual([ErrorCode.ERROR_CODE_CONFLICT]));
    expect(answers(1)).toEqual(["o1 -"]);
  });

  it("who comes back sees the offers that are still open for them, and no others", async () => {
    // On another device: `turn` finds p2 offline and is p1's.
    await open(9, "p1");
    await offer({ offerId: "open" });
    await offer({ offerId: "taken" });
    await offer({ offerId: "others", candidates: ["p2"] });
    await offer({ offerId: "turn", mode: "one_by_one", candidates: ["p2", "p1"] });
    await core.fanout.offers.desk.accept({ app: "default", userId: "p2", role: "porter" }, "taken");
    await until(async () => {
      const events = await core.offers.undelivered({ app: "default", offerId: "taken" });
      expect(events?.changes).toEqual([]);
      expect(told(9)).toHaveLength(4);
    });
    await open(1, "p1");
    await until(() => expect(told(1)).toHaveLength(2));
    expect(
      told(1)
        .map((each) => each.split(" ")[0])
        .sort(),
    ).toEqual(["open", "turn"]);
    expect(told(1).every((each) => each.endsWith(" -"))).toBe(true);
    accept(1, "open");
    await until(() => expect(answers(1)).toEqual(["open stored"]));
  });

  it("knows a standing offer by the id of the event that asked them", async () => {
    await open(1, "p1");
    await offer();
    await until(() => expect(told(1)).toHaveLength(1));
    await open(2, "p1");
    await until(() => expect(told(2)).toHaveLength(1));
    const eventOf = (session: number) =>
      edge.framesOf(session).flatMap(({ body }) => {
        return body?.$case === "event" && body.value.body?.$case === "offer" ? [body.value] : [];
      })[0];
    expect(eventOf(2)?.id).toBe(eventOf(1)?.id);
    expect(eventOf(2)).toMatchObject({ channel: "user:p1", correlationId: "order-42" });
    expect(eventOf(2)?.body).toEqual(eventOf(1)?.body);
    expect(eventOf(2)?.body).toMatchObject({ value: { state: OPEN, data: { fare: 9.5 } } });
  });

  it("who subscribes to their own channel again is told of them again", async () => {
    await open(1, "p1");
    await offer();
    await until(() => expect(told(1)).toHaveLength(1));
    edge.request(1, { $case: "unsubscribe", value: { channel: "user:p1" } });
    edge.subscribe(1, "user:p1");
    await until(() => expect(told(1)).toHaveLength(2));
  });

  it.each([
    ["an id that is none", "o/1", ErrorCode.ERROR_CODE_INVALID_ARGUMENT],
    ["no id", "", ErrorCode.ERROR_CODE_INVALID_ARGUMENT],
    ["an offer that is not there", "o2", ErrorCode.ERROR_CODE_NOT_FOUND],
  ])("who answers %s is told so", async (_, offerId, code) => {
    await open(1, "p1");
    accept(1, offerId);
    edge.request(1, { $case: "offerReject", value: { offerId, reason: "" } });
    await until(() => expect(answers(1)).toEqual([code, code]));
  });

  it("who answers what is not there is told which field is at fault, by its path", async () => {
    await open(1, "p1");
    for (const offerId of ["o/1", "o2"]) {
      accept(1, offerId);
      edge.request(1, { $case: "offerReject", value: { offerId, reason: "" } });
    }
    await until(() => expect(answers(1)).toHaveLength(4));
    const fields = edge
      .framesOf(1)
      .flatMap(({ body }) => (body?.$case === "error" ? [body.value.field] : []));
    expect([...new Set(fields)].sort()).toEqual(["offer_accept.offer_id", "offer_reject.offer_id"]);
  });

  it("does not see the offers of another app", async () => {
    await offer({ app: "other" });
    await open(1, "p1");
    accept(1);
    await until(() => expect(answers(1)).toEqual([ErrorCode.ERROR_CODE_NOT_FOUND]));
    expect(told(1)).toEqual([]);
  });
});

it("a session whose standing offers cannot be read is told of them when the store is back", async () => {
  await offer();
  await until(async () => {
    expect((await core.offers.undelivered({ app: "default", offerId: "o1" }))?.changes).toEqual([]);
  });
  const read = vi.spyOn(core.offers, "askedOf").mockRejectedValueOnce(new Error("away"));
  await open(1, "p1");
  await until(() => expect(told(1)).toHaveLength(1));
  expect(read).toHaveBeenCalledTimes(2);
});

it.each(["customer", "admin", "merchant", "user"])("a %s answers no offers", async (role) => {
  await offer();
  await open(1, "p1", role);
  accept(1);
  edge.request(1, { $case: "offerReject", value: { offerId: "o1", reason: "" } });
  const denied = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
  await until(() => expect(answers(1)).toEqual([denied, denied]));
  expect(told(1)).toEqual([]);
});
