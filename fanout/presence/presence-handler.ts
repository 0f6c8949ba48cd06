/**
 * `presence`: whether a user is online, or who is in a channel. Who may watch a user may ask about them; who may
 * follow a channel may ask who is in it, in pages in the order of their ids, and how many they are in all.
 */
import { GatewayError } from "#proto/errors.js";
import type { Presence } from "#proto/gen/realtime/client/v1/client_frame.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import { may } from "#fanout/policy/policy.js";
import type { FrameHandler } from "#fanout/session/frame-handler.js";
import type { OwnParticipations } from "#fanout/session/own-participations.js";
import { readMembersPage, type MembersReader } from "./members-page.js";
import { presenceChannel, presenceUpdate } from "./presence-channel.js";

export interface PresenceHandlerOptions {
  readonly store: MembersReader;
  readonly participations: OwnParticipations;
}

/** Members on a page. */
const PAGE = 100;

export function presenceHandler({ store, participations }: PresenceHandlerOptions): FrameHandler<"presence"> {
  return async ({ session }, body) => {
    const { principal } = session;
    const check = new FieldCheck("presence");
    const subject = subjectOf(body, check);
    if (subject.$case === "userId") {
      check.identifier("user_id", subject.value);
      const watched = presenceChannel(principal.app, subject.value);
      if (!may(principal, "presence", watched, await participations.of(session, watched))) {
        throw new GatewayError("permission_denied", "whether this user is online is not yours to see", {
          field: "presence.user_id",
        });
      }
      const users = await store.presences(principal.app, [subject.value]);
      return {
        $case: "presencePage",
        value: { users: users.map(presenceUpdate), total: users.length, nextPageToken: "" },
      };
    }
    const { channel } = check.channel("channel", principal.app, subject.value);
    if (!may(principal, "presence", channel, await participations.of(session, channel))) {
      throw new GatewayError("permission_denied", `who is in ${channel.name} is not yours to see`, {
        field: "presence.channel",
      });
    }
    const page = await readMembersPage(store, { channel, limit: PAGE, pageToken: body.pageToken, check });
    return { $case: "presencePage", value: page };
  };
}

function subjectOf({ subject }: Presence, check: FieldCheck): NonNullable<Presence["subject"]> {
  return subject ?? check.fail("subject", "either a channel or a user must be given");
}
