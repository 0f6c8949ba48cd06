import { describe, expect, it } from "vitest";
import { HEARTBEAT_SLOTS, HeartbeatSweep, type Beating, type HeartbeatPing } from "./heartbeat.js";

class Client implements Beating {
  missedHeartbeats = 0;
  isAlive = true;
  readonly pinged: HeartbeatPing[] = [];
  missed = 0;
  visitedAtMs: number[] = [];

  takeSignOfLife(): boolean {
    return this.isAlive;
  }

  ping(ping: HeartbeatPing): void {
    this.pinged.push(ping);
  }

  get pings(): number {
    return this.pinged.length;
  }

  heartbeatMissed(): void {
    this.missed += 1;
  }

  visited(steadyMs: number): void {
    this.visitedAtMs.push(steadyMs);
  }
}

function sweepOf(clients: readonly Client[]): HeartbeatSweep<Client> {
  const sweep = new HeartbeatSweep<Client>();
  for (const client of clients) sweep.add(client);
  return sweep;
}

function round(sweep: HeartbeatSweep<Client>, nowMs = 0): void {
  for (let slot = 0; slot < HEARTBEAT_SLOTS; slot += 1) sweep.step(nowMs);
}

describe("HeartbeatSweep", () => {
  it("visits every connection once a round, and no step more than its share", () => {
    const clients = Array.from({ length: HEARTBEAT_SLOTS * 10 }, () => new Client());
    const sweep = sweepOf(clients);
    for (let step = 1; step <= HEARTBEAT_SLOTS; step += 1) {
      sweep.step(0);
      expect(clients.reduce((sum, { pings }) => sum + pings, 0)).toBe(step * 10);
    }
    expect(new Set(clients.map(({ pings }) => pings))).toEqual(new Set([1]));
  });

  it("gives up a connection that was silent for two whole rounds, not before", () => {
    const client = new Client();
    const sweep = sweepOf([client]);
    round(sweep);
    client.isAlive = false;
    round(sweep);
    round(sweep);
    expect(client.missed).toBe(0);
    round(sweep);
    expect(client.missed).toBe(1);
  });

  it("starts to count anew with any sign of life", () => {
    const client = new Client();
    const sweep = sweepOf([client]);
    for (let times = 0; times < 5; times += 1) {
      client.isAlive = false;
      round(sweep);
      round(sweep);
      client.isAlive = true;
      round(sweep);
    }
    expect(client.missed).toBe(0);
  });

  it("pings all of a round with one frame, and gives no connection the same number twice", () => {
    const clients = Array.from({ length: HEARTBEAT_SLOTS * 2 }, () => new Client());
    const sweep = sweepOf(clients);
    for (let times = 0; times < 3; times += 1) round(sweep);
    expect(new Set(clients.flatMap(({ pinged }) => pinged.map(({ frame }) => frame))).size).toBe(3);
    for (const { pinged } of clients) expect(pinged.map(({ number }) => number)).toEqual([1, 2, 3]);
  });

  it("does not ping whom it gives up, and tells connections the time for their own deadlines", () => {
    const silent = new Client();
    const live = new Client();
    silent.isAlive = false;
    const sweep = sweepOf([silent, live]);
    for (const nowMs of [1000, 2000, 3000]) round(sweep, nowMs);
    expect(silent.pings).toBe(2);
    expect(live.visitedAtMs).toEqual([1000, 2000, 3000]);
  });

  it("forgets whom it is told to forget, also twice and while it visits them", () => {
    const client = new Client();
    const other = new Client();
    const sweep = sweepOf([client, other]);
    client.isAlive = false;
    client.heartbeatMissed = () => sweep.remove(client);
    for (let times = 0; times < 6; times += 1) round(sweep);
    sweep.remove(client);
    expect(client.pings).toBe(2);
    expect(other.pings).toBe(6);
  });
});
