/**
 * A broker that lies, to show that the checker finds it: what its followers hear, what history gives and what
 * positions say is another list of events than the stored one, and all three agree with each other.
 */
import type {
  Broker,
  BrokerMessage,
  DurableEvent,
  EventKeys,
  HistoryEvent,
  HistoryRange,
  LatestValue,
  StreamPosition,
} from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";

/** What is told of all events so far. With every further event it may only grow at its end. */
export type Lie = (events: readonly HistoryEvent[]) => readonly HistoryEvent[];

/** One channel's events: as they are stored, and as they are told. */
class Tale {
  readonly #stored: HistoryEvent[] = [];
  told: readonly HistoryEvent[] = [];

  constructor(private readonly lie: Lie) {}

  /** What is told in addition. */
  add(event: HistoryEvent): readonly HistoryEvent[] {
    const before = this.told.length;
    this.#stored.push(event);
    this.told = this.lie(this.#stored).map(({ payload, position }, index) => ({
      payload,
      position: { ...position, offset: index + 1 },
    }));
    return this.told.slice(before);
  }
}

/** It must follow a channel before the channel's first event. */
export class LyingBroker implements Broker {
  readonly #tales = new Map<string, Tale>();

  constructor(
    private readonly inner: Broker,
    private readonly lie: Lie,
  ) {}

  publish(channel: Channel, event: DurableEvent) {
    return this.inner.publish(channel, event);
  }

  isRepeat(channel: Channel, event: EventKeys) {
    return this.inner.isRepeat(channel, event);
  }

  update(channel: Channel, value: LatestValue) {
    return this.inner.update(channel, value);
  }

  tell(channel: Channel, message: Parameters<Broker["tell"]>[1]) {
    return this.inner.tell(channel, message);
  }

  async follow(channel: Channel, listener: (message: BrokerMessage) => void) {
    const tale = this.#tale(channel);
    await this.inner.follow(channel, (message) => {
      if (message.type !== "durable") listener(message);
      else for (const event of tale.add(message)) listener({ type: "durable", ...event });
    });
  }

  unfollow(channel: Channel) {
    return this.inner.unfollow(channel);
  }

  async state(channel: Channel) {
    const { latest } = await this.inner.state(channel);
    return { latest, position: this.#position(channel) };
  }

  async positions(channels: readonly Channel[]) {
    return channels.map((channel) => this.#position(channel));
  }

  rotate(channel: Channel, forked: StreamPosition) {
    return this.inner.rotate(channel, forked);
  }

  async history(channel: Channel, range: HistoryRange) {
    const { told } = this.#tale(channel);
    if ("afterOffset" in range) {
      return told.filter(({ position }) => position.offset > range.afterOffset).slice(0, range.limit);
    }
    const earlier = told.filter(({ position }) => position.offset < range.beforeOffset);
    return earlier.reverse().slice(0, range.limit);
  }

  close() {
    return this.inner.close();
  }

  #tale(channel: Channel): Tale {
    const tale = this.#tales.get(channel.key) ?? new Tale(this.lie);
    this.#tales.set(channel.key, tale);
    return tale;
  }

  #position(channel: Channel): StreamPosition {
    return this.#tale(channel).told.at(-1)?.position ?? { epoch: "", offset: 0, tag: 0 };
  }
}
