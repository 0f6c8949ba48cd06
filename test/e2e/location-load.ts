/**
 * Load for tests: porters of one order who send so many locations a second together, and followers that
 * note how long each took from a porter's send to their own receipt. Both run in the test's process, so
 * one clock measures.
 */
import { once } from "node:events";
import { setInterval } from "node:timers/promises";
import WebSocket from "ws";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";

const STEP_MS = 10;

export class LocationLoad {
  readonly #porters: readonly AppClient[];
  readonly #perSecond: number;
  readonly #stopping = new AbortController();
  readonly #sending: Promise<void>;
  /** Locations sent, by all porters. */
  sent = 0;

  constructor(porters: readonly AppClient[], perSecond: number) {
    this.#porters = porters;
    this.#perSecond = perSecond;
    this.#sending = this.#send();
  }

  /** Ends it; every porter has sent one more, its last. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#sending;
    for (const porter of this.#porters) this.#sendOne(porter);
  }

  async #send(): Promise<void> {
    try {
      for await (const startMs of setInterval(STEP_MS, performance.now(), {
        signal: this.#stopping.signal,
      })) {
        const due = Math.floor(((performance.now() - startMs) / 1000) * this.#perSecond);
        while (this.sent < due) {
          const porter = this.#porters[this.sent % this.#porters.length];
          if (porter === undefined) return;
          this.#sendOne(porter);
        }
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    }
  }

  /** Its number travels as the accuracy; the correlation id makes the event as large as real ones. */
  #sendOne(porter: AppClient): void {
    this.sent += 1;
    const body = {
      $case: "locationUpdate" as const,
      value: { latitude: 1, longitude: 2, timestampMs: Date.now(), orderId: "", accuracy: this.sent },
    };
    porter.sendRaw(porter.encode({ ...ClientFrame.fromPartial({ correlationId: "c".repeat(100) }), body }));
  }
}

/** A follower that keeps nothing but latencies and the newest number of each porter. */
export class MeasuringFollower {
  readonly #websocket: WebSocket;
  /** Since the last `takeP99`. */
  #latenciesMs: number[] = [];
  /** The newest location's number, by porter. */
  readonly newest = new Map<string, number>();
  received = 0;
  #isSubscribed = false;

  private constructor(websocket: WebSocket) {
    this.#websocket = websocket;
    websocket.on("message", (data: Buffer) => this.#received(ServerFrame.decode(new Uint8Array(data))));
  }

  static async follow(options: { url: string; token: string; channel: string }): Promise<MeasuringFollower> {
    const headers = { authorization: `Bearer ${options.token}` };
    const websocket = new WebSocket(options.url, "realtime.v1.protobuf", { headers });
    const follower = new MeasuringFollower(websocket);
    await once(websocket, "open");
    const body = { $case: "subscribe" as const, value: { channel: options.channel, after: undefined } };
    websocket.send(ClientFrame.encode({ ...ClientFrame.fromPartial({ id: 1 }), body }).finish());
    await waitFor(() => follower.#isSubscribed, { what: `${options.channel} to be followed` });
    return follower;
  }

  /** Of what came since it was last asked; undefined where nothing came. */
  takeP99Ms(): number | undefined {
    const sorted = this.#latenciesMs.sort((left, right) => left - right);
    this.#latenciesMs = [];
    return sorted[Math.floor(sorted.length * 0.99)];
  }

  close(): void {
    this.#websocket.terminate();
  }

  #received(frame: ServerFrame): void {
    if (frame.replyTo === 1) this.#isSubscribed = frame.body?.$case === "subscribed";
    if (frame.body?.$case !== "event" || frame.body.value.body?.$case !== "location") return;
    const { workerId, accuracy = 0, measuredAtMs } = frame.body.value.body.value;
    const before = this.newest.get(workerId) ?? 0;
    if (accuracy <= before) throw new Error(`${workerId}'s location ${accuracy} came after ${before}`);
    this.newest.set(workerId, accuracy);
    this.received += 1;
    this.#latenciesMs.push(Date.now() - measuredAtMs);
  }
}
