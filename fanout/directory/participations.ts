/**
 * Changes of who takes part in what. After each change the channel and the user are signalled, so that
 * fanouts that hold followers check permissions again at once and homes learn a worker's active orders.
 */
import { Signal, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import type { Broker } from "#fanout/channel/broker.js";
import { channelOf, userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Directory, Participation } from "./directory.js";

const MEMBERS_CHANGED = Signal.encode(
  Signal.fromPartial({ kind: SignalKind.SIGNAL_KIND_MEMBERS_CHANGED }),
).finish();

export class Participations {
  readonly #directory: Directory;
  readonly #broker: Broker;

  constructor(options: { directory: Directory; broker: Broker }) {
    this.#directory = options.directory;
    this.#broker = options.broker;
  }

  async grant(participation: Participation): Promise<void> {
    await this.#directory.grant(participation);
    await this.#announce(participation.channel, participation.userId);
  }

  async end(channel: Channel, userId: string): Promise<void> {
    await this.#directory.end(channel, userId);
    // Who saw by this whether the user is online may not see it any more.
    const watched = channelOf(channel.app, "presence", userId);
    await Promise.all([
      this.#announce(channel, userId),
      this.#broker.tell(watched, { signal: MEMBERS_CHANGED }),
    ]);
  }

  /** Ends everybody's part: the order is over. */
  async endAll(channel: Channel): Promise<void> {
    for (const { userId } of await this.#directory.participants(channel)) await this.end(channel, userId);
  }

  async #announce(channel: Channel, userId: string): Promise<void> {
    await Promise.all([
      this.#broker.tell(channel, { signal: MEMBERS_CHANGED }),
      this.#broker.tell(userChannel(channel.app, userId), { signal: MEMBERS_CHANGED }),
    ]);
  }
}
