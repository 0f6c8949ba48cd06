import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { FanoutCounters } from "../fanout-counters.js";
import { LocationWriter } from "./location-writer.js";
import type { KnownLocation, Locations } from "./locations.js";

let batches: KnownLocation[][];
let isAway: boolean;
let writer: LocationWriter;
let counters: FanoutCounters;

const locations: Pick<Locations, "put"> = {
  put: (batch) => {
    if (isAway) return Promise.reject(new GatewayError("unavailable", "away"));
    batches.push([...batch]);
    return Promise.resolve();
  },
};

beforeEach(() => {
  vi.useFakeTimers();
  batches = [];
  isAway = false;
  counters = new FanoutCounters();
  writer = new LocationWriter({ locations, counters });
});

afterEach(() => vi.useRealTimers());

function write(workerId: string, version: number): void {
  writer.write({ app: "default", workerId, version, payload: new Uint8Array() });
}

const versions = (): string[][] =>
  batches.map((batch) => batch.map(({ workerId, version }) => `${workerId}=${version}`));

describe("last known locations", () => {
  it("are written in one batch, of each worker the newest", async () => {
    write("a", 1);
    write("b", 1);
    write("a", 3);
    write("a", 2);
    expect(batches).toEqual([]);
    await vi.advanceTimersByTimeAsync(100);
    expect(versions()).toEqual([["a=3", "b=1"]]);
    await vi.advanceTimersByTimeAsync(1000);
    expect(batches).toHaveLength(1);
  });

  it("are kept while the store is away, and the newest are written when it is back", async () => {
    isAway = true;
    write("a", 1);
    write("b", 1);
    await vi.advanceTimersByTimeAsync(250);
    write("a", 2);
    await vi.advanceTimersByTimeAsync(250);
    expect(writer.waiting).toBe(2);
    expect(counters.storeFailures).toBeGreaterThan(2);
    isAway = false;
    await vi.advanceTimersByTimeAsync(200);
    expect(versions()).toEqual([["a=2", "b=1"]]);
    expect(writer.waiting).toBe(0);
  });

  it("take a bounded room, also where a batch comes back to a full one", async () => {
    isAway = true;
    for (let index = 0; index < 100_000; index += 1) write(`first-${index}`, 1);
    const put = vi.spyOn(locations, "put");
    put.mockImplementationOnce(async () => {
      for (let index = 0; index < 100_000; index += 1) write(`second-${index}`, 1);
      throw new GatewayError("unavailable", "away");
    });
    await vi.advanceTimersByTimeAsync(100);
    expect(writer.waiting).toBe(100_000);
    write("one-more", 1);
    expect(writer.waiting).toBe(100_000);
    put.mockRestore();
  });

  it("that wait are written before the end", async () => {
    write("a", 1);
    await writer.stop();
    expect(versions()).toEqual([["a=1"]]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("do not hold up the end where the store is away", async () => {
    isAway = true;
    write("a", 1);
    await writer.stop();
    expect(vi.getTimerCount()).toBe(0);
  });
});
