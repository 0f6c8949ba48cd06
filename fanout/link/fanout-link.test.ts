import { beforeEach, describe, expect, it } from "vitest";
import { ConnectRequest, EdgeHello } from "#proto/gen/realtime/link/v1/link.js";
import { FakeEdge } from "#test/support/fake-edge.js";
import { SILENT } from "#test/support/fanout-core.js";
import { FanoutCounters } from "../fanout-counters.js";
import { FanoutLink } from "./fanout-link.js";

let edge: FakeEdge;
let link: FanoutLink;
let heard: string[];
let counters: FanoutCounters;
let nowMs: number;

beforeEach(() => {
  edge = new FakeEdge();
  heard = [];
  nowMs = 0;
  counters = new FanoutCounters();
  link = new FanoutLink({
    stream: edge,
    fanoutId: "fanout-1",
    incarnation: "i-1",
    version: "v",
    counters,
    logger: SILENT,
    nowMs: () => nowMs,
    listener: {
      greeted: () => heard.push("greeted"),
      open: (_link, { session }) => heard.push(`open ${session}`),
      frame: (_link, { session, upSequence }) => heard.push(`frame ${session} ${upSequence}`),
      confirm: (_link, { session, positions }) =>
        heard.push(`confirm ${session} ${Object.keys(positions).join()}`),
      close: (_link, { session }) => heard.push(`close ${session}`),
      verified: () => undefined,
      release: (_link, session) => heard.push(`release ${session}`),
      status: () => ({ sessions: 7, onlineUsers: 5, dependencies: [], storeTimeUs: 3, accepting: true }),
      ended: () => heard.push("ended"),
    },
  });
});

const settle = (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 2));
const frame = (upSequence: number) =>
  ({
    $case: "frame",
    value: { session: 1, upSequence, receivedAtUs: 1, deadlineUs: 0, payload: new Uint8Array() },
  }) as const;

describe("greeting", () => {
  it("answers with who this is, the version chosen and credit, then the status", () => {
    edge.greet({ edgeId: "edge-7", incarnation: "i-7" });
    expect(edge.items.map(({ $case }) => $case)).toEqual(["hello", "status"]);
    expect(edge.itemsOf("hello")[0]).toMatchObject({ protocol: 1, fanoutId: "fanout-1", incarnation: "i-1" });
    expect(edge.itemsOf("hello")[0]?.creditBytes).toBeGreaterThan(0);
    expect(edge.itemsOf("status")[0]).toMatchObject({ sessions: 7, onlineUsers: 5, sequence: 0 });
    expect([link.edgeId, link.edgeIncarnation, link.isOpen]).toEqual(["edge-7", "i-7", true]);
    expect(heard).toEqual(["greeted"]);
  });

  it.each([
    ["newer", { min: 99, max: 120 }],
    ["missing", undefined],
  ])("refuses an edge whose protocol is %s, and tells it nothing", (_what, protocol) => {
    const value = EdgeHello.fromPartial({ edgeId: "old" });
    edge.say({ $case: "hello", value: { ...value, protocol } }, frame(1));
    expect(edge.endedWith).toBe("no common link protocol");
    expect(edge.items).toEqual([]);
    expect(heard).toEqual(["ended"]);
    expect(counters.linksRefused).toBe(1);
  });

  it("must come first", () => {
    edge.say(frame(1));
    expect(edge.endedWith).toBe("the first item must be a hello");
    expect(heard).toEqual(["ended"]);
  });

  it("is heard once: a second hello changes nothing", () => {
    edge.greet({ edgeId: "edge-1" });
    edge.greet({ edgeId: "edge-2" });
    expect([link.edgeId, heard]).toEqual(["edge-1", ["greeted"]]);
  });
});

describe("a batch", () => {
  it("is dealt with in its order, and unknown items in it are passed over", () => {
    edge.greet();
    edge.say(
      frame(1),
      { $case: "release", value: { session: 1 } },
      { $case: "close", value: { session: 2, reason: "" } },
    );
    const unknown = Buffer.from([0x0a, 0x03, 0x9a, 0x06, 0x00]);
    edge.sayBytes(Buffer.concat([unknown, ConnectRequest.encode({ items: [{ item: frame(2) }] }).finish()]));
    expect(heard).toEqual(["greeted", "frame 1 1", "release 1", "close 2", "frame 1 2"]);
    expect(edge.endedWith).toBeUndefined();
  });

  it("that is none ends the link and nothing else", () => {
    edge.greet();
    edge.sayBytes(Buffer.from([0xff, 0xff, 0xff]));
    expect(edge.endedWith).toBe("not a batch");
    expect(heard).toEqual(["greeted", "ended"]);
    edge.sayBytes(ConnectRequest.encode({ items: [{ item: frame(1) }] }).finish());
    expect(heard).toHaveLength(2);
  });

  it("is given credit for again once half of the window is used", () => {
    edge.greet();
    const payload = new Uint8Array(1024 * 1024);
    const value = { ...frame(1).value, payload };
    for (let index = 0; index < 5; index += 1) edge.say({ $case: "frame", value });
    const credit = edge.itemsOf("credit").reduce((sum, { bytes }) => sum + bytes, 0);
    expect(credit).toBeGreaterThanOrEqual(4 * 1024 * 1024);
  });
});

describe("what goes to the edge", () => {
  it("waits for credit, and keeps its order", async () => {
    edge.greet({ creditBytes: 0 });
    for (const session of [1, 2, 3])
      link.send({ $case: "close", value: { session, code: 4000, reason: "" } });
    await settle();
    expect(edge.itemsOf("close")).toEqual([]);
    edge.say({ $case: "credit", value: { bytes: 1000 } });
    await settle();
    expect(edge.itemsOf("close").map(({ session }) => session)).toEqual([1, 2, 3]);
  });

  it("acknowledges the last frame of each session, before what is said at the end of a session", async () => {
    edge.greet();
    link.acknowledge(1, 1);
    link.acknowledge(2, 5);
    link.acknowledge(1, 2);
    link.flushAcknowledged();
    link.send({ $case: "released", value: { session: 1, state: new Uint8Array() } });
    await settle();
    expect(edge.itemsOf("acknowledge")).toEqual([{ sessions: [1, 2], upSequences: [2, 5] }]);
    expect(edge.items.map(({ $case }) => $case).slice(-2)).toEqual(["acknowledge", "released"]);
  });

  it("answers a status by its sequence, without credit", () => {
    edge.greet({ creditBytes: 0 });
    edge.say({ $case: "status", value: { sequence: 12, connections: 3 } });
    link.tellStatus();
    expect(edge.itemsOf("status").map(({ sequence }) => sequence)).toEqual([0, 12, 0]);
  });
});

it("an edge that falls silent is given up, and its link ends once", () => {
  edge.greet();
  nowMs = 9_000;
  link.tick();
  expect(edge.endedWith).toBeUndefined();
  edge.say({ $case: "status", value: { sequence: 1, connections: 0 } });
  nowMs = 18_000;
  link.tick();
  expect(edge.endedWith).toBeUndefined();
  nowMs = 19_001;
  link.tick();
  link.tick();
  expect(edge.endedWith).toBe("silent");
  expect(heard).toEqual(["greeted", "ended"]);
  expect(link.isOpen).toBe(false);
});
