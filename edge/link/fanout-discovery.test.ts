import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { DnsDiscovery, fanoutDiscovery, type Resolve } from "./fanout-discovery.js";

describe("a list of fanouts", () => {
  it("is told once, without blanks and empty entries", () => {
    const told: (readonly string[])[] = [];
    fanoutDiscovery(" a:1, b:2,,").start((addresses) => told.push(addresses));
    expect(told).toEqual([["a:1", "b:2"]]);
  });
});

describe("fanouts behind a DNS name", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  type Answer = readonly string[] | Error;

  async function discovery(answers: readonly Answer[]) {
    const told: (readonly string[])[] = [];
    const errors: unknown[] = [];
    const asked: string[] = [];
    const resolve: Resolve = (name) => {
      const answer = answers[Math.min(asked.length, answers.length - 1)] ?? [];
      asked.push(name);
      if (answer instanceof Error) return Promise.reject(answer);
      return Promise.resolve(answer.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })));
    };
    const found = new DnsDiscovery("fanouts", 50052, {
      intervalMs: 1000,
      resolve,
      onError: (error) => errors.push(error),
    });
    found.start((addresses) => told.push(addresses));
    await vi.advanceTimersByTimeAsync(0);
    return { found, told, errors, asked };
  }

  it("are told at once and after each change, and not when only their order changed", async () => {
    const { found, told, asked } = await discovery([
      ["10.0.0.1", "10.0.0.2"],
      ["10.0.0.2", "10.0.0.1"],
      ["10.0.0.3"],
    ]);
    expect(told).toEqual([["10.0.0.1:50052", "10.0.0.2:50052"]]);
    await vi.advanceTimersByTimeAsync(2000);
    expect(told.slice(1)).toEqual([["10.0.0.3:50052"]]);
    expect(asked).toEqual(["fanouts", "fanouts", "fanouts"]);
    found.stop();
  });

  it("are kept while the name cannot be looked up, or has no address", async () => {
    const failure = new Error("SERVFAIL");
    const { found, told, errors } = await discovery([["10.0.0.1"], failure, [], ["10.0.0.1"], ["10.0.0.2"]]);
    await vi.advanceTimersByTimeAsync(4000);
    expect(told).toEqual([["10.0.0.1:50052"], ["10.0.0.2:50052"]]);
    expect(errors).toEqual([failure]);
    found.stop();
  });

  it("may have IPv6 addresses", async () => {
    const { found, told } = await discovery([["fd00::1"]]);
    expect(told).toEqual([["[fd00::1]:50052"]]);
    found.stop();
  });

  it("are not looked up any more after the stop, and an answer that is late is not told", async () => {
    let answer: (found: { address: string; family: number }[]) => void = () => undefined;
    const resolve = vi.fn(
      () => new Promise<{ address: string; family: number }[]>((done) => (answer = done)),
    );
    const told: unknown[] = [];
    const found = new DnsDiscovery("fanouts", 1, { intervalMs: 1000, resolve });
    found.start((addresses) => told.push(addresses));
    found.stop();
    answer([{ address: "10.0.0.1", family: 4 }]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(told).toEqual([]);
    expect(resolve).toHaveBeenCalledTimes(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("are the meaning of dns:///name:port", () => {
    expect(fanoutDiscovery("dns:///fanouts.example:50052")).toBeInstanceOf(DnsDiscovery);
  });
});
