/**
 * What a user has seen: marks one notification or all up to it, tells the user's devices by a latest value in the
 * user's own channel, and says how many are not seen. The value holds all that is seen of a channel, so a device that
 * missed some of them knows the same as the others by the last one.
 */
import { GatewayError } from "#proto/errors.js";
import { Event, type NotificationsSeen } from "#proto/gen/realtime/client/v1/event.js";
import type { UnseenNotifications } from "#proto/gen/realtime/client/v1/server_frame.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { KeptNotification, KeptNotifications } from "./kept-notifications.js";
import { isOver } from "./notification-expiry.js";
import type { SeenMark, SeenMarks, SeenOwner } from "./seen-marks.js";

export interface Sight {
  readonly owner: SeenOwner;
  readonly channel: Channel;
  readonly notificationId: string;
  /** All earlier ones of the channel too. */
  readonly upTo: boolean;
  readonly correlationId: string;
  readonly traceparent: string;
}

export interface SeenNotificationsOptions {
  readonly marks: SeenMarks;
  readonly kept: KeptNotifications;
  readonly publisher: Pick<Publisher, "publish">;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
}

export class SeenNotifications {
  readonly #options: SeenNotificationsOptions;

  constructor(options: SeenNotificationsOptions) {
    this.#options = options;
  }

  /**
   * Resolves once the mark is kept and told; a repeat tells it again where the first did not get so far.
   * @throws GatewayError not_found where the channel does not keep such a notification, unavailable.
   */
  async see(sight: Sight): Promise<void> {
    const { owner, channel, notificationId, upTo, correlationId, traceparent } = sight;
    const { marks, kept, publisher, counters } = this.#options;
    const notification = (await kept.of(channel)).find((each) => each.notificationId === notificationId);
    if (notification === undefined) {
      throw new GatewayError("not_found", `${channel.name} keeps no such notification`, {
        field: "notification_seen.notification_id",
      });
    }
    const { epoch, offset } = notification.position;
    const { seen, version } = await marks.raise(owner, channel, { epoch, offset, upTo });
    counters.notificationsSeen += 1;
    const event = Event.fromPartial({ correlationId, traceparent });
    event.body = { $case: "notificationsSeen", value: toNotificationsSeen(channel, seen) };
    await publisher.publish({ channel: userChannel(owner.app, owner.userId), event, version });
  }

  /** In the order of the channels. @throws GatewayError unavailable. */
  async unseen(owner: SeenOwner, channels: readonly Channel[]): Promise<UnseenNotifications[]> {
    const { marks, kept, clock } = this.#options;
    const [seen, ...notifications] = await Promise.all([
      marks.marks(owner, channels),
      ...channels.map((channel) => kept.of(channel)),
    ]);
    const nowMs = clock.nowUs() / 1000;
    return channels.map((channel, index) => {
      const mark = seen[index];
      const live = (notifications[index] ?? []).filter((each) => !isOver(each, nowMs));
      return {
        seen: toNotificationsSeen(channel, mark),
        unseen: live.filter((each) => !isSeen(each, mark)).length,
      };
    });
  }
}

function isSeen({ position }: KeptNotification, seen: SeenMark | undefined): boolean {
  if (seen?.epoch !== position.epoch) return false;
  return position.offset <= seen.mark.upTo || seen.mark.singles.includes(position.offset);
}

function toNotificationsSeen(channel: Channel, seen: SeenMark | undefined): NotificationsSeen {
  return {
    channel: channel.name,
    upTo: seen && { epoch: seen.epoch, offset: seen.mark.upTo, tag: 0 },
    offsets: [...(seen?.mark.singles ?? [])],
  };
}
