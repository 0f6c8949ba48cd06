/**
 * Puts the notifications of a fanout together: what is seen, and when a notification's time is over. Sending is the
 * publisher's: the API (`notification-service.ts`) and Kafka name the one channel that a target has.
 */
import type { Broker } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { ChannelKind } from "#fanout/channel/channel-kinds.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { FrameHandlers } from "#fanout/session/frame-handler.js";
import type { OwnParticipations } from "#fanout/session/own-participations.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { KeptNotifications } from "./kept-notifications.js";
import { notificationHandlers } from "./notification-handlers.js";
import type { SeenMarks } from "./seen-marks.js";
import { SeenNotifications } from "./seen-notifications.js";

/** What configuration says of notifications. */
export interface NotificationSettings {
  /** Whether sessions follow their role's channel and everyone's from the start. Default: yes. */
  readonly followBroadcasts?: boolean;
}

export interface NotificationPartOptions {
  readonly broker: Broker;
  readonly marks: SeenMarks;
  readonly publisher: Publisher;
  readonly participations: OwnParticipations;
  readonly followed: (channel: Channel) => FollowedChannel | undefined;
  readonly kinds: ReadonlyMap<string, ChannelKind> | undefined;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
}

export class NotificationPart {
  readonly handlers: FrameHandlers;

  constructor(options: NotificationPartOptions) {
    const { broker, marks, publisher, participations, followed, kinds, clock, counters } = options;
    const kept = new KeptNotifications({ broker, followed, ...(kinds && { kinds }) });
    const seen = new SeenNotifications({ marks, kept, publisher, clock, counters });
    this.handlers = notificationHandlers({ seen, participations });
  }
}
