import { describe, expect, it } from "vitest";
import { ConnectRequest, ConnectResponse, FanoutStatus } from "#proto/gen/realtime/link/v1/link.js";
import type { LinkStream, LinkStreamListener } from "#proto/link/link-stream.js";
import { EdgeCounters } from "./edge-counters.js";
import { EdgeHealth } from "./edge-health.js";
import { EdgeLink } from "./link/edge-link.js";
import { StoreTime } from "./store-time.js";

/** A fanout that says what the test wants it to. */
class Fanout implements LinkStream {
  #listener: LinkStreamListener | undefined;
  readonly link: EdgeLink;

  constructor(name: string) {
    const ignore = (): void => undefined;
    this.link = new EdgeLink({
      stream: this,
      edgeId: "e1",
      incarnation: "i",
      version: "1",
      counters: new EdgeCounters(),
      listener: {
        ready: ignore,
        draining: ignore,
        verify: () => undefined,
        refreshed: () => undefined,
        released: ignore,
        ended: ignore,
      },
      nowMs: () => 0,
      clock: new StoreTime(() => 0),
    });
    const hello = {
      protocol: 1,
      fanoutId: name,
      incarnation: "i",
      features: [],
      creditBytes: 1000,
      version: "1",
    };
    this.#say({ $case: "hello", value: hello });
  }

  status(status: Partial<FanoutStatus>): void {
    this.#say({ $case: "status", value: FanoutStatus.fromPartial({ accepting: true, ...status }) });
  }

  send(batch: Uint8Array): boolean {
    ConnectRequest.decode(batch);
    return true;
  }

  listen(listener: LinkStreamListener): void {
    this.#listener = listener;
  }

  end(): void {
    this.destroy("ended");
  }

  destroy(reason: string): void {
    this.#listener?.closed(reason);
  }

  #say(item: NonNullable<ConnectResponse["items"][number]["item"]>): void {
    this.#listener?.batch(ConnectResponse.encode({ items: [{ item }] }).finish());
  }
}

function healthOf(...fanouts: readonly Fanout[]): EdgeHealth {
  return new EdgeHealth({
    links: () => fanouts.map(({ link }) => link),
    connections: () => 7,
    isDraining: () => false,
  });
}

const redis = (up: boolean, reconnectAttempts: number) => ({
  name: "redis",
  up,
  reconnectAttempts,
  implementation: "redis",
});

describe("EdgeHealth", () => {
  it("knows only its own sockets before any fanout said anything", () => {
    const health = healthOf();
    expect([health.connections, health.onlineUsers, health.readyLinks]).toEqual([7, 0, 0]);
    expect(health.acceptsSessions).toBe(false);
    expect(health.dependency("redis")).toBeUndefined();
  });

  it("adds up the users of all fanouts", () => {
    const [left, right] = [new Fanout("f1"), new Fanout("f2")];
    left.status({ onlineUsers: 3 });
    right.status({ onlineUsers: 4 });
    expect(healthOf(left, right)).toMatchObject({ onlineUsers: 7, readyLinks: 2 });
  });

  it("takes sessions while any fanout does", () => {
    const [left, right] = [new Fanout("f1"), new Fanout("f2")];
    left.status({ accepting: false });
    expect(healthOf(left, right).acceptsSessions).toBe(true);
    right.status({ accepting: false });
    expect(healthOf(left, right).acceptsSessions).toBe(false);
  });

  it("calls a dependency up only where every fanout that speaks of it does, and tells the most attempts", () => {
    const [left, right] = [new Fanout("f1"), new Fanout("f2")];
    left.status({ dependencies: [redis(true, 0)] });
    expect(healthOf(left, right).dependency("redis")).toMatchObject({ isUp: true, reconnectAttempts: 0 });
    right.status({ dependencies: [redis(false, 5)] });
    expect(healthOf(left, right).dependency("redis")).toEqual({
      isUp: false,
      reconnectAttempts: 5,
      implementation: "redis",
    });
    expect(healthOf(left, right).dependency("kafka")).toBeUndefined();
  });

  it("forgets a fanout whose link ended", () => {
    const fanout = new Fanout("f1");
    fanout.status({ onlineUsers: 3, dependencies: [redis(false, 1)] });
    fanout.destroy("gone");
    expect(healthOf(fanout)).toMatchObject({ onlineUsers: 0, readyLinks: 0, acceptsSessions: false });
  });
});
