/** The frames of notifications: that one was seen, and how many are not. A handler reads, asks whether it may, and has it done. */
import { GatewayError } from "#proto/errors.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { userChannel, type Channel } from "#fanout/channel/channel.js";
import { mayMarkSeen } from "#fanout/policy/policy.js";
import type { FrameHandlers } from "#fanout/session/frame-handler.js";
import type { OwnParticipations } from "#fanout/session/own-participations.js";
import type { Session } from "#fanout/session/session.js";
import { broadcastsOf } from "./broadcast-channels.js";
import type { SeenNotifications } from "./seen-notifications.js";

/** In one question. */
const MAX_CHANNELS = 16;

export interface NotificationHandlersOptions {
  readonly seen: SeenNotifications;
  readonly participations: OwnParticipations;
}

type NotificationHandlers = Required<Pick<FrameHandlers, "notificationSeen" | "unseen">>;

export function notificationHandlers(options: NotificationHandlersOptions): NotificationHandlers {
  const { seen, participations } = options;

  async function mustBeTheirs(session: Session, channel: Channel, field: string): Promise<void> {
    const part = await participations.of(session, channel);
    if (mayMarkSeen(session.principal, channel, part)) return;
    const message = `the notifications of ${channel.name} are not yours to see`;
    throw new GatewayError("permission_denied", message, { field });
  }

  return {
    notificationSeen: async ({ session, frame, correlationId }, body) => {
      const { principal } = session;
      const check = new FieldCheck("notification_seen");
      const { notificationId, upTo } = body;
      check.identifier("notification_id", notificationId);
      const channel =
        body.channel === ""
          ? userChannel(principal.app, principal.userId)
          : check.channel("channel", principal.app, body.channel).channel;
      await mustBeTheirs(session, channel, "notification_seen.channel");
      const { traceparent } = frame;
      await seen.see({ owner: principal, channel, notificationId, upTo, correlationId, traceparent });
      return undefined;
    },

    unseen: async ({ session }, { channels: names }) => {
      const { principal } = session;
      const check = new FieldCheck("unseen");
      if (names.length > MAX_CHANNELS) check.fail("channels", `at most ${MAX_CHANNELS} can be asked about`);
      const channels =
        names.length === 0
          ? [userChannel(principal.app, principal.userId), ...broadcastsOf(principal)]
          : names.map((name, index) => check.channel(`channels[${index}]`, principal.app, name).channel);
      await Promise.all(
        channels.map((channel, index) => mustBeTheirs(session, channel, `unseen.channels[${index}]`)),
      );
      return { $case: "unseenPage", value: { channels: await seen.unseen(principal, channels) } };
    },
  };
}
