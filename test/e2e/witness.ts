/**
 * Someone who must not notice: a follower of an order whose porter sends a location every few
 * milliseconds. `check` says whether every location came, in order and without a pause.
 */
import { setInterval } from "node:timers/promises";
import { randomUUID } from "node:crypto";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import type { Cluster } from "./cluster.js";

const INTERVAL_MS = 20;
/** Longer than a busy machine's pauses, shorter than a process takes to come back. */
const MAX_PAUSE_MS = 2000;

export class Witness {
  readonly #follower: AppClient;
  readonly #porter: AppClient;
  readonly #channel: string;
  readonly #stopping = new AbortController();
  readonly #sending: Promise<void>;
  #sent = 0;

  private constructor(parts: { follower: AppClient; porter: AppClient; channel: string }) {
    this.#follower = parts.follower;
    this.#porter = parts.porter;
    this.#channel = parts.channel;
    this.#sending = this.#send();
  }

  static async start(cluster: Cluster, edges: { follower: number; porter: number }): Promise<Witness> {
    const orderId = randomUUID();
    const name = orderId.slice(0, 8);
    await cluster.grant(orderId, { [`witness-${name}`]: "OWNER", [`porter-${name}`]: "ASSIGNED" });
    const follower = await cluster.connect(edges.follower, `witness-${name}`, "customer");
    const porter = await cluster.connect(edges.porter, `porter-${name}`, "porter", { framing: "protobuf" });
    await follower.subscribe(`order:${orderId}`);
    return new Witness({ follower, porter, channel: `order:${orderId}` });
  }

  /** Rejects where a location was lost, came late or out of order, or a socket was closed. */
  async check(): Promise<void> {
    const expected = this.#sent;
    await waitFor(() => this.#seen().at(-1)?.number === this.#sent || this.#seen().length >= expected, {
      what: "the witness's newest location",
      timeoutMs: 10_000,
    });
    for (const client of [this.#follower, this.#porter]) {
      if (client.closedWith !== undefined)
        throw new Error(`a witness was closed with ${client.closedWith.code}`);
    }
    let last = { number: 0, atMs: this.#seen()[0]?.atMs ?? 0 };
    for (const seen of this.#seen()) {
      if (seen.number !== last.number + 1) {
        throw new Error(`the witness got location ${seen.number} after ${last.number}`);
      }
      const pauseMs = seen.atMs - last.atMs;
      if (pauseMs > MAX_PAUSE_MS) {
        throw new Error(`the witness waited ${Math.round(pauseMs)} ms for location ${seen.number}`);
      }
      last = seen;
    }
  }

  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#sending;
  }

  #seen(): { number: number; atMs: number }[] {
    return this.#follower.frames.flatMap(({ body }, index) => {
      if (body?.$case !== "event" || body.value.channel !== this.#channel) return [];
      const location = body.value.body;
      if (location?.$case !== "location") return [];
      return [{ number: location.value.accuracy ?? 0, atMs: this.#follower.receivedAtMs[index] ?? 0 }];
    });
  }

  async #send(): Promise<void> {
    try {
      for await (const one of setInterval(INTERVAL_MS, 1, { signal: this.#stopping.signal })) {
        this.#sent += one;
        // The running number travels as the accuracy, whose range is wide enough.
        const value = { latitude: 1, longitude: 2, timestampMs: 0, orderId: "", accuracy: this.#sent };
        this.#porter.send({ $case: "locationUpdate", value }, { id: 0 });
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    }
  }
}
