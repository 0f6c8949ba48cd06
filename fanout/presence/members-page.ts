/** A page of a channel's members, with the presence of each: for apps and for backend services. */
import type { PresencePage } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { FieldCheck } from "#fanout/api/field-check.js";
import type { Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { presenceUpdate } from "./presence-channel.js";
import type { PresenceStore } from "./presence-store.js";

export type MembersReader = Pick<PresenceStore, "members" | "presences">;

export interface MembersQuery {
  readonly channel: Channel;
  readonly limit: number;
  /** The user id that the last page ended with, in base64url; empty for the first page. */
  readonly pageToken: string;
  readonly check: FieldCheck;
}

/** A user id has up to 128 characters in a channel's name; from a token it may be longer. */
const MAX_TOKEN = 2_048;
const PAGE_TOKEN = /^[A-Za-z0-9_-]*$/;

/** @throws GatewayError invalid_argument, unavailable. */
export async function readMembersPage(store: MembersReader, query: MembersQuery): Promise<PresencePage> {
  const { channel, limit, pageToken, check } = query;
  if (CHANNEL_KINDS.get(channel.kind)?.members === "unknown") {
    check.fail("channel", `the members of a channel of the kind ${channel.kind} are not known`);
  }
  if (pageToken.length > MAX_TOKEN || !PAGE_TOKEN.test(pageToken)) {
    check.fail("page_token", "it must be one that a page ended with");
  }
  const after = Buffer.from(pageToken, "base64url").toString("utf8");
  const { userIds, total } = await store.members(channel, after, limit);
  const users = await store.presences(channel.app, userIds);
  const last = userIds.at(-1);
  const isLast = last === undefined || userIds.length < limit;
  return {
    users: users.map(presenceUpdate),
    total,
    nextPageToken: isLast ? "" : Buffer.from(last, "utf8").toString("base64url"),
  };
}
