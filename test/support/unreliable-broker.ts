/**
 * A broker whose way can be made bad: messages are lost, doubled or reordered between it and its
 * followers, operations fail while it is away, or wait until the test lets them go on. What it stores is
 * another broker's.
 */
import { GatewayError } from "#proto/errors.js";
import type {
  Broker,
  BrokerMessage,
  DurableEvent,
  EventKeys,
  HistoryRange,
  LatestValue,
  StreamPosition,
} from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";

type Operation = Exclude<keyof Broker, "unfollow" | "close">;

export class UnreliableBroker implements Broker {
  /** Operations that fail with `unavailable`. */
  readonly failing = new Set<Operation>();
  /** What is heard of a message; several, none, or kept for later and said with `say`. */
  way: (message: BrokerMessage) => readonly BrokerMessage[] = (message) => [message];
  /** Waited for when an operation's answer is there, before it is given. */
  readonly answers = new Map<Operation, () => Promise<void>>();
  readonly calls: Operation[] = [];
  readonly #listeners = new Map<string, (message: BrokerMessage) => void>();

  constructor(private readonly inner: Broker) {}

  get isAway(): boolean {
    return this.failing.size > 0;
  }

  set isAway(isAway: boolean) {
    this.failing.clear();
    if (!isAway) return;
    for (const operation of OPERATIONS) this.failing.add(operation);
  }

  /** Lets followers hear something. */
  say(channel: Channel, message: BrokerMessage): void {
    this.#listeners.get(channel.key)?.(message);
  }

  follows(channel: Channel): boolean {
    return this.#listeners.has(channel.key);
  }

  publish(channel: Channel, event: DurableEvent) {
    return this.#run("publish", () => this.inner.publish(channel, event));
  }

  isRepeat(channel: Channel, event: EventKeys) {
    return this.#run("isRepeat", () => this.inner.isRepeat(channel, event));
  }

  update(channel: Channel, value: LatestValue) {
    return this.#run("update", () => this.inner.update(channel, value));
  }

  tell(channel: Channel, message: Parameters<Broker["tell"]>[1]) {
    return this.#run("tell", () => this.inner.tell(channel, message));
  }

  follow(channel: Channel, listener: (message: BrokerMessage) => void) {
    return this.#run("follow", async () => {
      await this.inner.follow(channel, (message) => this.way(message).forEach(listener));
      this.#listeners.set(channel.key, listener);
    });
  }

  unfollow(channel: Channel) {
    this.#listeners.delete(channel.key);
    return this.inner.unfollow(channel);
  }

  state(channel: Channel) {
    return this.#run("state", () => this.inner.state(channel));
  }

  positions(channels: readonly Channel[]) {
    return this.#run("positions", () => this.inner.positions(channels));
  }

  rotate(channel: Channel, forked: StreamPosition) {
    return this.#run("rotate", () => this.inner.rotate(channel, forked));
  }

  history(channel: Channel, range: HistoryRange) {
    return this.#run("history", () => this.inner.history(channel, range));
  }

  close() {
    return this.inner.close();
  }

  async #run<Answer>(operation: Operation, work: () => Promise<Answer>): Promise<Answer> {
    this.calls.push(operation);
    if (this.failing.has(operation)) throw new GatewayError("unavailable", "the store is away");
    const answer = await work();
    await this.answers.get(operation)?.();
    return answer;
  }
}

const OPERATIONS = [
  "publish",
  "isRepeat",
  "update",
  "tell",
  "follow",
  "state",
  "positions",
  "rotate",
  "history",
] as const;
