import { beforeEach, describe, expect, it } from "vitest";
import { SessionSnapshot, type FanoutItem, type UpFrame } from "#proto/gen/realtime/link/v1/link.js";
import { gate } from "#test/support/fanout-core.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import type { Session } from "./session.js";

let sent: NonNullable<FanoutItem["item"]>[];
let acknowledged: number[];
/** What was begun and what was done, in order. */
let log: string[];
let waiting: Map<number, ReturnType<typeof gate>>;
let session: Session;

function frame(upSequence: number): UpFrame {
  return { session: 1, upSequence, receivedAtUs: upSequence, deadlineUs: 0, payload: new Uint8Array() };
}

function take(...upSequences: readonly number[]): void {
  for (const upSequence of upSequences) session.take(frame(upSequence));
}

/** From now on this frame waits until its gate is opened. */
function wait(upSequence: number): ReturnType<typeof gate> {
  const made = gate();
  waiting.set(upSequence, made);
  return made;
}

const settle = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  log = [];
  waiting = new Map();
  const made = rememberedSession({
    handle: (_session, { upSequence }) => {
      log.push(`begin ${upSequence}`);
      const waits = waiting.get(upSequence);
      if (waits === undefined) return undefined;
      return waits.opened.then(() => void log.push(`end ${upSequence}`));
    },
  });
  ({ session, sent, acknowledged } = made);
});

describe("frames", () => {
  it("wait until the session is open, and are then dealt with in order", () => {
    take(1, 2, 3);
    expect(log).toEqual([]);
    session.begin();
    expect(log).toEqual(["begin 1", "begin 2", "begin 3"]);
    expect(acknowledged).toEqual([1, 2, 3]);
  });

  it("are dealt with one at a time, and acknowledged when they are done", async () => {
    session.begin();
    const second = wait(2);
    take(1, 2, 3);
    await settle();
    expect(log).toEqual(["begin 1", "begin 2"]);
    expect(acknowledged).toEqual([1]);
    second.open();
    await settle();
    expect(log).toEqual(["begin 1", "begin 2", "end 2", "begin 3"]);
    expect(acknowledged).toEqual([1, 2, 3]);
  });

  it("that were seen before are not dealt with again", () => {
    session.begin();
    take(1, 1, 2, 1, 2, 3);
    expect(log).toEqual(["begin 1", "begin 2", "begin 3"]);
  });

  it("begin where the edge says, after another home", () => {
    ({ session, sent, acknowledged } = rememberedSession({
      open: { nextUpSequence: 7 },
      handle: (_session, { upSequence }) => void log.push(`begin ${upSequence}`),
    }));
    session.begin();
    take(5, 6, 7, 8);
    expect(log).toEqual(["begin 7", "begin 8"]);
  });

  it("are forgotten when the session ends, and nothing is said or acknowledged any more", async () => {
    session.begin();
    const first = wait(1);
    take(1, 2);
    session.end();
    take(3);
    first.open();
    await settle();
    expect(log).toEqual(["begin 1", "end 1"]);
    session.send({ replyTo: 0, body: undefined });
    session.saveState();
    session.close(4000, "no");
    expect(sent).toEqual([]);
    expect(acknowledged).toEqual([]);
  });
});

it("the client has its token by a pong behind the welcome, and not by a frame, which may have crossed it", () => {
  session.begin();
  session.confirm({});
  session.welcomed();
  session.take({ ...frame(1), receivedAtUs: Number.MAX_SAFE_INTEGER });
  expect(session.resumable.isGenerationConfirmed).toBe(false);
  session.confirm({});
  expect(session.resumable.isGenerationConfirmed).toBe(true);
});

describe("being idle", () => {
  it("is told at once where nothing is in hand", () => {
    session.begin();
    take(1);
    let isIdle = false;
    session.whenIdle(() => (isIdle = true));
    expect(isIdle).toBe(true);
  });

  it("is told once, when everything that was taken is dealt with", async () => {
    session.begin();
    const first = wait(1);
    take(1, 2);
    let times = 0;
    session.whenIdle(() => (times += 1));
    await settle();
    expect(times).toBe(0);
    first.open();
    await settle();
    expect(times).toBe(1);
    expect(log.at(-1)).toBe("begin 2");
    take(3);
    expect(times).toBe(1);
  });

  it("waits for a session that is not open yet", () => {
    let times = 0;
    session.whenIdle(() => (times += 1));
    take(1);
    expect(times).toBe(0);
    session.begin();
    expect([log, times]).toEqual([["begin 1"], 1]);
  });
});

it("a snapshot tells the next home what the session has and is", () => {
  session.begin();
  session.sampleCounter = 4;
  take(1, 2);
  expect(SessionSnapshot.decode(session.snapshot())).toMatchObject({
    sessionId: "session-1",
    channels: [],
    sampleCounter: 4,
  });
  expect(session.capability).toBe("worker");
});
