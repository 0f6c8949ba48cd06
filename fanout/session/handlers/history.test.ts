import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ClientFrame, type History } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import type { HistoryPage } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import type { FakeEdge } from "#test/support/fake-edge.js";
import { FanoutCore, order, status } from "#test/support/fanout-core.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import { GrantedRelations } from "#fanout/policy/relations.js";
import { OwnParticipations } from "../own-participations.js";
import { historyHandler } from "./history.js";

const channel = order("42");
const EXPIRED = ErrorCode.ERROR_CODE_EXPIRED;
let core: FanoutCore;
let edge: FakeEdge;

beforeEach(async () => {
  core = new FanoutCore();
  edge = core.edge();
  await core.grant(channel, "owner");
});

afterEach(() => core.stop());

const until = (expectation: () => unknown) => vi.waitFor(expectation, { timeout: 5_000, interval: 5 });

async function open(session: number, userId: string, role = "customer"): Promise<void> {
  edge.open(session, { userId, role });
  await until(() => expect(edge.heard(session)).toContain(`subscribed user:${userId}`));
}

/** Asks for a page; gives it, or the error's code. */
async function ask(session: number, request: Partial<History> = {}): Promise<HistoryPage | ErrorCode> {
  const asked = edge.framesOf(session).length;
  const value = { channel: "order:42", backward: false, limit: 0, ...request };
  edge.request(session, { $case: "history", value });
  await until(() => expect(edge.framesOf(session).length).toBeGreaterThan(asked));
  const body = edge.framesOf(session)[asked]?.body;
  if (body?.$case === "historyPage") return body.value;
  if (body?.$case === "error") return body.value.code;
  throw new Error(`neither a page nor an error: ${body?.$case ?? "nothing"}`);
}

async function page(session: number, request: Partial<History> = {}): Promise<HistoryPage> {
  const answer = await ask(session, request);
  if (typeof answer === "number") throw new Error(`error ${answer}`);
  return answer;
}

const offsetsOf = ({ events }: HistoryPage) => events.map(({ position }) => position?.offset);

async function publish(count: number, to: Channel = channel): Promise<void> {
  for (let index = 0; index < count; index += 1) await core.publish(to, status(`s${index + 1}`));
}

async function positionAt(offset: number): Promise<Position> {
  const [event] = await core.elsewhere.history(channel, { afterOffset: offset - 1, limit: 1 });
  if (event === undefined) throw new Error("there is no such event");
  return event.position;
}

describe("a page of history", () => {
  it("holds the events with their positions, oldest first, and says nothing of a next one at the end", async () => {
    await publish(3);
    await open(1, "owner");
    const { events, next } = await page(1);
    expect(events.map(({ position, body }) => ({ position, body }))).toEqual(
      await Promise.all(
        [1, 2, 3].map(async (offset) => ({ position: await positionAt(offset), body: status(`s${offset}`) })),
      ),
    );
    expect(next).toBeUndefined();
  });

  it.each([
    { backward: false, expected: [1, 2, 3, 4, 5, 6, 7] },
    { backward: true, expected: [7, 6, 5, 4, 3, 2, 1] },
  ])("after the other gives every event once (backward: $backward)", async ({ backward, expected }) => {
    await publish(7);
    await open(1, "owner");
    for (const limit of [1, 2, 3, 6, 7, 8, 100]) {
      const offsets: unknown[] = [];
      let from: Position | undefined;
      let pages = 0;
      do {
        const answer = await page(1, { backward, limit, ...(from && { from }) });
        offsets.push(...offsetsOf(answer));
        from = answer.next;
        pages += 1;
      } while (from !== undefined);
      expect(offsets).toEqual(expected);
      expect(pages).toBe(Math.ceil(7 / limit));
    }
  });

  it("starts behind `from`, whatever its tag says of nothing", async () => {
    await publish(5);
    await open(1, "owner");
    const from = await positionAt(3);
    expect(offsetsOf(await page(1, { from }))).toEqual([4, 5]);
    expect(offsetsOf(await page(1, { from, backward: true }))).toEqual([2, 1]);
    expect(offsetsOf(await page(1, { from: { ...from, tag: 0 } }))).toEqual([4, 5]);
    expect(offsetsOf(await page(1, { from: await positionAt(5) }))).toEqual([]);
    expect(offsetsOf(await page(1, { from: await positionAt(1), backward: true }))).toEqual([]);
    expect(offsetsOf(await page(1, { from: { ...from, offset: 0, tag: 0 } }))).toEqual([1, 2, 3, 4, 5]);
    expect(offsetsOf(await page(1, { from: { ...from, offset: 0, tag: 0 }, backward: true }))).toEqual([]);
  });

  it("of a channel without events is empty, from wherever", async () => {
    await open(1, "owner");
    const from = { epoch: "", offset: 0, tag: 0 };
    for (const backward of [false, true]) {
      expect(await page(1, { backward })).toEqual({ events: [], next: undefined });
      expect(await page(1, { backward, from })).toEqual({ events: [], next: undefined });
    }
    await publish(1);
    expect(offsetsOf(await page(1, { from }))).toEqual([1]);
    expect(offsetsOf(await page(1, { from, backward: true }))).toEqual([]);
  });

  it("has 50 events where nobody says how many, 100 at most, and no more is refused", async () => {
    await publish(120);
    await open(1, "owner");
    expect(offsetsOf(await page(1))).toHaveLength(50);
    const hundred = await page(1, { limit: 100 });
    expect(hundred.events).toHaveLength(100);
    expect(hundred.next).toEqual(await positionAt(100));
    expect(await ask(1, { limit: 101 })).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
    expect(await ask(1, { limit: 4_294_967_295 })).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
  });

  it("is bounded in bytes, holds one event however large it is, and goes on with the next", async () => {
    const sizes = [100_000, 100_000, 100_000, 300_000, 10];
    for (const size of sizes) await core.publish(channel, status("x".repeat(size)));
    await open(1, "owner");
    const pages: unknown[] = [];
    let from: Position | undefined;
    do {
      const answer = await page(1, from && { from });
      pages.push(offsetsOf(answer));
      from = answer.next;
    } while (from !== undefined);
    expect(pages).toEqual([[1, 2], [3], [4], [5]]);
  });

  it.each([false, true])("reads little more than it holds (backward: %s)", async (backward) => {
    const count = 12;
    for (let index = 0; index < count; index += 1) await core.publish(channel, status("x".repeat(64_000)));
    await open(1, "owner");
    const reading = vi.spyOn(core.broker, "history");
    const offsets: unknown[] = [];
    let from: Position | undefined;
    do {
      const answer = await page(1, { backward, limit: 100, ...(from && { from }) });
      offsets.push(...offsetsOf(answer));
      from = answer.next;
    } while (from !== undefined);
    const expected = Array.from({ length: count }, (_, index) => index + 1);
    expect(offsets).toEqual(backward ? expected.reverse() : expected);
    const lengths = reading.mock.results.map(async ({ value }) => ((await value) as unknown[]).length);
    expect(Math.max(...(await Promise.all(lengths)))).toBeLessThan(8);
  });

  it("is bounded by what it takes in the socket's framing", async () => {
    for (let index = 0; index < 3; index += 1) await core.publish(channel, status("\u0001".repeat(30_000)));
    const handler = historyHandler({
      broker: core.elsewhere,
      participations: new OwnParticipations({
        relations: new GrantedRelations({ directory: core.directory }),
        clock: core.clock,
      }),
    });
    const eventsIn = async (framing: Framing) => {
      const principal = { userId: "owner", role: "customer" };
      const { session } = rememberedSession({ handle: () => undefined, open: { framing }, principal });
      const frame = ClientFrame.fromPartial({});
      const context = {
        session,
        frame,
        receivedAtUs: 0,
        correlationId: "",
        requestKey: "",
        answer: () => undefined,
      };
      const answer = await handler(context, { channel: "order:42", backward: false, limit: 0 });
      return typeof answer === "object" && answer.$case === "historyPage" ? offsetsOf(answer.value) : answer;
    };
    expect(await eventsIn(Framing.FRAMING_PROTOBUF)).toEqual([1, 2, 3]);
    expect(await eventsIn(Framing.FRAMING_JSON)).toEqual([1]);
  });

  it("begins where the history begins, where `from` lies before it", async () => {
    const size = CHANNEL_KINDS.get("order")?.historySize ?? 0;
    await publish(1);
    const first = await positionAt(1);
    await publish(size + 20);
    await open(1, "owner");
    expect(offsetsOf(await page(1, { from: first, limit: 2 }))).toEqual([22, 23]);
    expect(await page(1, { from: first, backward: true })).toEqual({ events: [], next: undefined });
  });
});

describe("a position that is no place in the stored history is expired", () => {
  it.each([false, true])("of another epoch (backward: %s)", async (backward) => {
    await publish(3);
    await open(1, "owner");
    const old = { ...(await positionAt(2)), epoch: "another" };
    expect(await ask(1, { backward, from: old })).toBe(EXPIRED);
    expect(edge.framesOf(1).at(-1)?.body).toMatchObject({ value: { field: "history.from" } });
    expect(await ask(1, { backward, from: { ...old, offset: 3 } })).toBe(EXPIRED);
    expect(await ask(1, { backward, from: { ...old, offset: 30 } })).toBe(EXPIRED);
  });

  it.each([false, true])("of another event at that offset (backward: %s)", async (backward) => {
    await publish(3);
    await open(1, "owner");
    const from = await positionAt(2);
    expect(await ask(1, { backward, from: { ...from, tag: (from.tag ^ 2) >>> 0 } })).toBe(EXPIRED);
  });

  it.each([false, true])("ahead of what is stored (backward: %s)", async (backward) => {
    await publish(3);
    await open(1, "owner");
    const from = await positionAt(3);
    expect(await ask(1, { backward, from: { ...from, offset: 4 } })).toBe(EXPIRED);
    expect(await ask(1, { backward, from: { ...from, offset: Number.MAX_SAFE_INTEGER } })).toBe(EXPIRED);
  });

  it.each([false, true])("after a fork began a new epoch (backward: %s)", async (backward) => {
    await publish(3);
    await open(1, "owner");
    const from = await positionAt(3);
    await core.elsewhere.rotate(channel, from);
    expect(await ask(1, { backward, from })).toBe(EXPIRED);
    await publish(1);
    expect(await ask(1, { backward, from })).toBe(EXPIRED);
    expect(offsetsOf(await page(1, { backward }))).toEqual([1]);
  });
});

describe("reading history", () => {
  it("needs the permission to follow, and no subscription", async () => {
    await publish(2);
    await publish(1, userChannel("default", "owner"));
    await open(1, "owner");
    await open(2, "stranger");
    await open(3, "boss", "admin");
    const denied = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
    expect(await ask(2)).toBe(denied);
    expect(await ask(2, { channel: "user:owner" })).toBe(denied);
    expect((await page(3)).events).toHaveLength(2);
    expect((await page(1, { channel: "user:owner" })).events).toHaveLength(1);
    await core.participations.end(channel, "owner");
    expect(await ask(1)).toBe(denied);
  });

  it.each([
    ["planet:1", ErrorCode.ERROR_CODE_NOT_FOUND],
    ["order:", ErrorCode.ERROR_CODE_INVALID_ARGUMENT],
    ["", ErrorCode.ERROR_CODE_INVALID_ARGUMENT],
  ])("of %j is refused", async (name, code) => {
    await open(1, "owner");
    expect(await ask(1, { channel: name })).toBe(code);
  });

  it("from a position whose epoch is no epoch is refused", async () => {
    await open(1, "owner");
    const from = { epoch: "x".repeat(65), offset: 1, tag: 0 };
    expect(await ask(1, { from })).toBe(ErrorCode.ERROR_CODE_INVALID_ARGUMENT);
    expect(edge.framesOf(1).at(-1)?.body).toMatchObject({ value: { field: "history.from" } });
    expect(await ask(1, { from: { ...from, epoch: "x".repeat(64) } })).toBe(EXPIRED);
  });

  it("gets unavailable while the store is away", async () => {
    await open(1, "owner");
    core.broker.failing.add("history");
    expect(await ask(1)).toBe(ErrorCode.ERROR_CODE_UNAVAILABLE);
  });
});
