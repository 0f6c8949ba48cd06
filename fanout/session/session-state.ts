/**
 * The state of a session that one home gives the edge for the next. What an edge sends must never end the fanout: the
 * next one would end by it too. So what cannot be read is told apart, and nothing here throws.
 */
import { SessionSnapshot } from "#proto/gen/realtime/link/v1/link.js";
import { parseChannelName, type Channel } from "#fanout/channel/channel.js";

export const UNREADABLE = Symbol("a state that is none");

/** Undefined: the session had no home before. */
export function readState(state: Uint8Array): SessionSnapshot | undefined | typeof UNREADABLE {
  if (state.length === 0) return undefined;
  try {
    return SessionSnapshot.decode(state);
  } catch {
    return UNREADABLE;
  }
}

/** Those that the session followed at the earlier home. */
export function channelsOf(snapshot: SessionSnapshot, app: string): readonly Channel[] {
  return snapshot.channels.flatMap((name) => {
    try {
      return [parseChannelName(app, name, "")];
    } catch {
      return [];
    }
  });
}
