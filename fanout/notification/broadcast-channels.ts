/**
 * The channels that reach many at once: one for each role and one for everyone in an app. Sessions follow those that
 * are meant for their user from the start, so what is said there is stored and sent once, never once for each user.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";

export const ROLE_KIND = "role";
export const EVERYONE_KIND = "everyone";
/** The one channel of its kind. */
export const EVERYONE_ID = "all";

/** All whose token says this role. */
export function roleChannel(app: string, role: string): Channel {
  return channelOf(app, ROLE_KIND, role);
}

/** All who have an account. */
export function everyoneChannel(app: string): Channel {
  return channelOf(app, EVERYONE_KIND, EVERYONE_ID);
}

export function isBroadcast({ kind }: Channel): boolean {
  return kind === ROLE_KIND || kind === EVERYONE_KIND;
}

/** Those that are meant for a user with an account. */
export function broadcastsOf({ app, role }: Pick<Principal, "app" | "role">): readonly Channel[] {
  return [roleChannel(app, role), everyoneChannel(app)];
}
