/**
 * The notifications that a channel keeps, read from its history. Of a followed channel they are read again only when
 * it has moved on, so all sessions of a role that ask at once cost one look.
 */
import type { Broker, StreamPosition } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { ChannelKind } from "#fanout/channel/channel-kinds.js";
import { kindOptions } from "#fanout/channel/channel-limits.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import { notificationIn } from "./notification-expiry.js";

export interface KeptNotification {
  readonly notificationId: string;
  readonly position: StreamPosition;
  /** 0: no end. */
  readonly expiresAtMs: number;
}

interface Reading {
  readonly position: StreamPosition;
  readonly kept: Promise<readonly KeptNotification[]>;
}

/** Of one channel; older ones are not counted then, and cannot be marked. */
const MAX_READ_BYTES = 1024 * 1024;

export interface KeptNotificationsOptions {
  readonly broker: Pick<Broker, "history">;
  /** The channel where it is followed. */
  readonly followed: (channel: Channel) => FollowedChannel | undefined;
  /** Default: `CHANNEL_KINDS`. */
  readonly kinds?: ReadonlyMap<string, ChannelKind>;
}

export class KeptNotifications {
  readonly #options: KeptNotificationsOptions;
  readonly #readings = new WeakMap<FollowedChannel, Reading>();

  constructor(options: KeptNotificationsOptions) {
    this.#options = options;
  }

  /** Newest first. @throws GatewayError unavailable. */
  async of(channel: Channel): Promise<readonly KeptNotification[]> {
    const followed = this.#options.followed(channel);
    const position = followed?.isActive === true ? followed.position : undefined;
    if (followed === undefined || position === undefined) return this.#read(channel);
    const known = this.#readings.get(followed);
    // A position is replaced, never changed.
    if (known?.position === position) return known.kept;
    const reading = { position, kept: this.#read(channel) };
    this.#readings.set(followed, reading);
    reading.kept.catch(() => {
      if (this.#readings.get(followed) === reading) this.#readings.delete(followed);
    });
    return reading.kept;
  }

  async #read(channel: Channel): Promise<readonly KeptNotification[]> {
    const limit = kindOptions(channel, this.#options.kinds).historySize;
    const range = { beforeOffset: Infinity, limit, maxBytes: MAX_READ_BYTES };
    const events = await this.#options.broker.history(channel, range);
    return events.flatMap(({ position, payload }) => {
      const notification = notificationIn(payload);
      if (notification === undefined) return [];
      const { notificationId, expiresAtMs } = notification;
      return [{ notificationId, position, expiresAtMs }];
    });
  }
}
