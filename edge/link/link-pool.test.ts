import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { FakeFanout, settled } from "#test/support/fake-fanout.js";
import { EdgeCounters } from "../edge-counters.js";
import { StoreTime } from "../store-time.js";
import type { LinkEnd } from "./edge-link.js";
import { LinkPool } from "./link-pool.js";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "Date"] });
});

afterEach(() => {
  vi.useRealTimers();
});

function setUp() {
  const connections: { readonly address: string; readonly fanout: FakeFanout }[] = [];
  const ended: LinkEnd[] = [];
  let tell: (addresses: readonly string[]) => void = () => undefined;
  const warn = vi.fn();
  const pool = new LinkPool({
    discovery: { start: (onAddresses) => (tell = onAddresses), stop: () => undefined },
    connect: (address) => {
      const [ours, theirs] = loopbackLink();
      connections.push({ address, fanout: new FakeFanout(address, theirs) });
      return ours;
    },
    edgeId: "edge-0",
    incarnation: "1",
    version: "test",
    counters: new EdgeCounters(),
    logger: { info: () => undefined, warn },
    nowMs: Date.now,
    clock: new StoreTime(Date.now),
    listener: {
      ready: () => undefined,
      draining: () => undefined,
      verify: () => undefined,
      refreshed: () => undefined,
      released: () => undefined,
      ended: (_link, end) => ended.push(end),
    },
  });
  pool.start();
  return { pool, connections, ended, warn, tell: (...addresses: string[]) => tell(addresses) };
}

function at<T>(list: readonly T[], index: number): T {
  const item = list.at(index);
  if (item === undefined) throw new Error(`there is no ${index}`);
  return item;
}

it("has one link to each address, however often it is told", async () => {
  const { pool, connections, tell } = setUp();
  tell("a", "b");
  tell("b", "a");
  for (const { fanout } of connections) fanout.hello();
  await settled();
  expect(connections.map(({ address }) => address)).toEqual(["a", "b"]);
  expect([...pool.ready()].map(({ name }) => name)).toEqual(["a", "b"]);
});

it("connects again after a wait when a link ended, and says once why it cannot", async () => {
  const { pool, connections, ended, warn, tell } = setUp();
  tell("a");
  at(connections, 0).fanout.hello();
  await settled();
  at(connections, 0).fanout.die("14 UNAVAILABLE: a");
  await settled();
  expect(ended).toEqual([{ how: "died", reason: "14 UNAVAILABLE: a" }]);
  expect([...pool.all()]).toEqual([]);
  warn.mockClear();
  for (let attempt = 1; attempt <= 5; attempt += 1) {
    await vi.advanceTimersByTimeAsync(2000);
    expect(connections).toHaveLength(attempt + 1);
    at(connections, -1).fanout.die(`14 UNAVAILABLE: try ${attempt}`);
    await settled();
  }
  expect(warn).toHaveBeenCalledTimes(1);
  expect(ended).toHaveLength(1);
});

it("gives a fanout up that takes the connection and says no hello, and tries again", async () => {
  const { pool, connections, tell } = setUp();
  tell("a");
  for (let second = 1; second <= 5; second += 1) {
    vi.setSystemTime(Date.now() + 1000);
    pool.tick(0);
    await settled();
  }
  expect(at(connections, 0).fanout.ended).toMatch(/no hello|silent/);
  await vi.advanceTimersByTimeAsync(2000);
  expect(connections).toHaveLength(2);
});

it("keeps the live link of an address that is gone, and tries it no more when that link has ended", async () => {
  const { pool, connections, tell } = setUp();
  tell("a", "b");
  for (const { fanout } of connections) fanout.hello();
  await settled();
  tell("b");
  expect([...pool.ready()].map(({ name }) => name)).toEqual(["a", "b"]);
  at(connections, 0).fanout.die();
  await settled();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(connections.map(({ address }) => address)).toEqual(["a", "b"]);
  // It may come back, under the same address.
  tell("a", "b");
  expect(connections.map(({ address }) => address)).toEqual(["a", "b", "a"]);
});

it("keeps the link of a fanout that is gone from discovery while it gives its sessions back", async () => {
  const { pool, connections, tell } = setUp();
  tell("a", "b");
  for (const { fanout } of connections) fanout.hello();
  at(connections, 0).fanout.say({ $case: "drain", value: { withinMs: 1000 } });
  await settled();
  tell("b");
  await settled();
  expect([...pool.all()].map(({ name, phase }) => [name, phase])).toEqual([
    ["a", "draining"],
    ["b", "ready"],
  ]);
});

it("lets go of an address that is gone before it could be reached", async () => {
  const { connections, tell } = setUp();
  tell("a");
  at(connections, 0).fanout.die();
  await settled();
  tell("b");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(connections.map(({ address }) => address)).toEqual(["a", "b"]);
});

it("ends all links at its stop, and leaves no timer running", async () => {
  const { pool, connections, tell } = setUp();
  tell("a", "b");
  at(connections, 0).fanout.hello();
  at(connections, 1).fanout.die();
  await settled();
  expect(vi.getTimerCount()).toBe(1);
  pool.stop();
  await settled();
  expect(at(connections, 0).fanout.ended).toBe("ended");
  await vi.advanceTimersByTimeAsync(60_000);
  expect(vi.getTimerCount()).toBe(0);
  expect(connections).toHaveLength(2);
});
