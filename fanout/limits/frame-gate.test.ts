/** The rate limits as a whole fanout has them: what apps are told, what has no effect, who is closed. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore } from "#test/support/fanout-core.js";
import { DEFAULT_RATE_LIMITS, type RateLimits } from "./rate-limits.js";

const HOUR_MS = 3_600_000;
/** Nothing comes back within a test. */
const LIMITS: RateLimits = {
  byClass: {
    general: { count: 5, windowMs: HOUR_MS },
    location: { count: 3, windowMs: HOUR_MS },
    chat: { count: 2, windowMs: HOUR_MS },
    ping: { count: 4, windowMs: HOUR_MS },
  },
  byRole: new Map(),
  closeAfter: { count: 10, windowMs: 60_000 },
};
const ERROR_LIMITED = `error ${ErrorCode.ERROR_CODE_RATE_LIMITED}`;
const ERROR_UNSUPPORTED = `error ${ErrorCode.ERROR_CODE_UNSUPPORTED}`;
const ERROR_INVALID = `error ${ErrorCode.ERROR_CODE_INVALID_ARGUMENT}`;

type ClientBody = NonNullable<ClientFrame["body"]>;
const PING: ClientBody = { $case: "ping", value: { clientTimeMs: 1 } };
const LOCATION: ClientBody = {
  $case: "locationUpdate",
  value: { latitude: 1, longitude: 2, timestampMs: 0, orderId: "" },
};
const LEAVE: ClientBody = { $case: "unsubscribe", value: { channel: "order:42" } };

let core: FanoutCore;

afterEach(() => core.stop());

async function start(rateLimits: RateLimits = LIMITS): Promise<FakeEdge> {
  core = new FanoutCore({ rateLimits });
  const edge = core.edge();
  edge.open(1, { userId: "w1", role: "porter" });
  await until(edge, 1, 2);
  return edge;
}

async function until(edge: FakeEdge, session: number, frames: number): Promise<void> {
  await vi.waitFor(() => expect(edge.heard(session).length).toBeGreaterThanOrEqual(frames));
}

/** What the frames were answered with, in order. */
async function ask(
  edge: FakeEdge,
  session: number,
  ...bodies: readonly ClientBody[]
): Promise<readonly string[]> {
  const before = edge.heard(session).length;
  for (const body of bodies) edge.request(session, body);
  await until(edge, session, before + bodies.length);
  return edge.heard(session).slice(before);
}

function times<T>(count: number, value: T): T[] {
  return Array.from({ length: count }, () => value);
}

it("refuses what is too much with the time to wait, without an effect, and goes on with the rest", async () => {
  const edge = await start();
  const heard = await ask(edge, 1, ...times(5, LOCATION), LEAVE, PING);
  expect(heard).toEqual([...times(3, "reply"), ...times(2, ERROR_LIMITED), "unsubscribed order:42", "pong"]);
  expect(core.fanout.counters.locationUpdates).toBe(3);
  const refusal = edge.framesOf(1).find(({ body }) => body?.$case === "error");
  expect(refusal).toMatchObject({ replyTo: 4, body: { value: { field: "location_update" } } });
  const waitMs = refusal?.body?.$case === "error" ? refusal.body.value.retryAfterMs : undefined;
  expect(waitMs).toBeGreaterThan(HOUR_MS / 3 - 60_000);
  expect(waitMs).toBeLessThanOrEqual(HOUR_MS / 3 + 1000);
  expect(core.fanout.counters.rateLimited).toEqual(new Map([["location", 2]]));
});

it("counts what cannot be read, and bodies that nobody knows, with the general frames", async () => {
  const edge = await start();
  const broken = Buffer.from([0xff, 0xff]);
  // id = 9, and a body that this release does not know (field 90).
  const unknown = Buffer.from([0x08, 9, 0xd2, 0x05, 0]);
  for (const [index, payload] of [broken, unknown, broken, unknown, broken, unknown, broken].entries()) {
    const upSequence = index + 1;
    const frame = { session: 1, upSequence, receivedAtUs: upSequence, deadlineUs: 0, payload };
    edge.say({ $case: "frame", value: frame });
  }
  await until(edge, 1, 2 + 7);
  const dealtWith = [ERROR_INVALID, ERROR_UNSUPPORTED, ERROR_INVALID, ERROR_UNSUPPORTED, ERROR_INVALID];
  expect(edge.heard(1).slice(2)).toEqual([...dealtWith, ERROR_LIMITED, ERROR_LIMITED]);
  expect(edge.framesOf(1).at(-2)?.replyTo).toBe(9);
});

it("never refuses heartbeats for what else was sent, but bounds them", async () => {
  const edge = await start();
  await ask(edge, 1, ...times(7, LEAVE));
  expect(await ask(edge, 1, ...times(5, PING))).toEqual([...times(4, "pong"), ERROR_LIMITED]);
});

it("closes a socket that goes on, once, behind its last answer, and no other of the user's", async () => {
  const edge = await start();
  edge.open(2, { userId: "w1", role: "porter" });
  await until(edge, 2, 2);
  await ask(edge, 1, ...times(3 + 9, LOCATION));
  expect(edge.itemsOf("close")).toEqual([]);
  expect(await ask(edge, 2, LOCATION)).toEqual([ERROR_LIMITED]);
  await ask(edge, 1, LOCATION, LOCATION, LOCATION);
  expect(edge.itemsOf("close")).toMatchObject([{ session: 1, code: CloseCode.OVERLOADED }]);
  const closedAt = edge.items.findIndex(({ $case }) => $case === "close");
  const answeredBefore = edge.items
    .slice(0, closedAt)
    .filter((item) => item.$case === "frame" && item.value.session === 1);
  expect(answeredBefore).toHaveLength(2 + 3 + 10);
  expect(core.fanout.counters.floodsClosed).toBe(1);
});

describe("a session that comes from another home", () => {
  it("has the frames from before dealt with, which may have had their effect, and no fresh bucket", async () => {
    const edge = await start();
    await ask(edge, 1, ...times(3, LOCATION));
    const state = edge.itemsOf("state").at(-1)?.state ?? new Uint8Array();
    const next = core.edgeElsewhere();
    next.open(1, { userId: "w1", role: "porter" }, { state, nextUpSequence: 4 });
    expect(await ask(next, 1, LOCATION, LOCATION)).toEqual(["reply", "reply"]);
    next.readAtUs = () => core.clock.nowUs();
    expect(await ask(next, 1, LOCATION, PING)).toEqual([ERROR_LIMITED, "pong"]);
  });

  it("is not to be had by frames that come before a new session's welcome", async () => {
    core = new FanoutCore({ rateLimits: LIMITS });
    const edge = core.edge();
    edge.open(1, { userId: "w1", role: "porter" });
    for (const body of times(5, LOCATION)) edge.request(1, body);
    await until(edge, 1, 7);
    expect(edge.heard(1).slice(2)).toEqual([...times(3, "reply"), ...times(2, ERROR_LIMITED)]);
  });
});

it("tells workers, and only them, how often they may send locations", async () => {
  const edge = await start(DEFAULT_RATE_LIMITS);
  edge.open(2, { userId: "c1" });
  await until(edge, 2, 2);
  const hintOf = (session: number): number | undefined => {
    const body = edge.framesOf(session)[1]?.body;
    return body?.$case === "subscribed" ? body.value.minSendIntervalMs : undefined;
  };
  expect([hintOf(1), hintOf(2)]).toEqual([60, 0]);
});
