/**
 * `custom`: an event of the apps' own, durable, from one of a channel's participants to all its followers. A
 * frame that is sent again has one effect and gets the same answer, at whichever fanout: the event's id follows
 * from the request's key, and the broker answers a key that it knows with the first position and time.
 *
 * Permission comes first: who may not publish any more is denied, also for what they sent before. The answer
 * comes behind the event itself where the session follows the channel.
 */
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import { checkEventSize, eventIdFor } from "#fanout/channel/event-identity.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import { whenDelivered } from "#fanout/channel/when-delivered.js";
import { may } from "#fanout/policy/policy.js";
import type { FrameHandler } from "../frame-handler.js";
import type { OwnParticipations } from "../own-participations.js";

const EVENT_TYPE = /^[A-Za-z0-9_.-]{1,64}$/;

export interface CustomOptions {
  readonly publisher: Publisher;
  readonly participations: OwnParticipations;
}

export function customHandler({ publisher, participations }: CustomOptions): FrameHandler<"custom"> {
  return async ({ session, frame, correlationId, requestKey }, body) => {
    const { principal } = session;
    const check = new FieldCheck("custom");
    const { channel } = check.channel("channel", principal.app, body.channel);
    if (!EVENT_TYPE.test(body.type)) check.fail("type", "it has 1 to 64 of A-Z a-z 0-9 _ . -");
    check.data("data", body.data);
    const event = Event.fromPartial({
      id: eventIdFor(channel, requestKey),
      sender: { userId: principal.userId, role: principal.role },
      correlationId,
      traceparent: frame.traceparent,
    });
    event.body = { $case: "custom", value: { type: body.type, data: body.data } };
    checkEventSize(event, "custom.data");

    if (!may(principal, "publish", channel, await participations.of(session, channel))) {
      throw new GatewayError("permission_denied", `${channel.name} is not yours to publish in`, {
        field: "custom.channel",
      });
    }
    const { position, eventId, timeMs } = await publisher.publish({
      channel,
      event,
      idempotencyKey: requestKey,
    });
    const followed = session.follows.get(channel.key);
    if (followed !== undefined && position !== undefined) await whenDelivered(followed, position);
    return { $case: "reply", value: { position: position && toPosition(position), id: eventId, timeMs } };
  };
}
