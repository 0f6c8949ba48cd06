/**
 * Typing: told to those who follow the channel, but not to the connection that types; never stored. Who goes on
 * typing says so again; else the end is told here after a moment, and at once where the session goes. A home that
 * dies tells no ends: apps let a start lapse by themselves.
 */
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { Session } from "#fanout/session/session.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { TypingStates } from "./typing-states.js";

export const DEFAULT_TYPING_TTL_MS = 6_000;
const MAX_STATES = 10_000;
const LOOK_MS = 250;

interface Typist {
  readonly session: Session;
  readonly channel: Channel;
}

export interface TypingOptions {
  readonly publisher: Pick<Publisher, "publish">;
  readonly counters: FanoutCounters;
  readonly nowMs: () => number;
  /** Default: 6 s. */
  readonly ttlMs?: number;
}

export class Typing {
  readonly #options: TypingOptions;
  readonly #states: TypingStates<Typist>;
  readonly #timer: NodeJS.Timeout;

  constructor(options: TypingOptions) {
    this.#options = options;
    const ttlMs = options.ttlMs ?? DEFAULT_TYPING_TTL_MS;
    this.#states = new TypingStates({ ttlMs, maxStates: MAX_STATES });
    this.#timer = setInterval(() => this.#endOver(), LOOK_MS).unref();
  }

  /** How many type. */
  get typing(): number {
    return this.#states.size;
  }

  /** Best effort: what cannot be told is counted. */
  async set(session: Session, channel: Channel, isTyping: boolean): Promise<void> {
    const typist = { session, channel };
    const key = `${session.connectionId} ${channel.key}`;
    if (!isTyping) {
      if (this.#states.stop(key)) await this.#tell(typist, false);
      return;
    }
    const { isNews, ended } = this.#states.start(key, typist, this.#options.nowMs());
    if (ended !== undefined) void this.#tell(ended, false);
    if (isNews) await this.#tell(typist, true);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #endOver(): void {
    const over = this.#states.takeOver(this.#options.nowMs(), ({ session }) => session.isEnded);
    this.#options.counters.typingLapsed += over.length;
    for (const typist of over) void this.#tell(typist, false);
  }

  async #tell({ session, channel }: Typist, typing: boolean): Promise<void> {
    const { connectionId, principal } = session;
    const { userId, role } = principal;
    const event = Event.fromPartial({ sender: { userId, role } });
    event.body = { $case: "typing", value: { userId, connectionId, typing } };
    try {
      await this.#options.publisher.publish({ channel, event, origin: connectionId });
    } catch {
      this.#options.counters.storeFailures += 1;
    }
  }
}
