/**
 * Waits until a followed channel has delivered its events here up to a position, so that an answer can be put
 * behind them. A wait is bounded: what pub/sub lost is read from history then, and the answer does not wait for it.
 */
import type { StreamPosition } from "./broker.js";
import type { ChannelAudience, FollowedChannel } from "./followed-channel.js";

/** Pub/sub takes about a millisecond; a message that is this late is probably lost. */
const LATE_MS = 250;

/** Resolves in the turn in which the position is reached, or a moment later without it. Never fails. */
export function whenDelivered(followed: FollowedChannel, position: StreamPosition): Promise<void> {
  if (!followed.isActive || isReached(followed, position)) return Promise.resolve();
  return new Promise((resolve) => {
    const finish = (): void => {
      clearTimeout(timer);
      followed.audiences.delete(audience);
      resolve();
    };
    const look = (): void => {
      if (isReached(followed, position)) finish();
    };
    const timer = setTimeout(() => {
      finish();
      followed.check(position);
    }, LATE_MS);
    // Behind the audiences of the sockets, which have the event when this one is told.
    const audience: ChannelAudience = { deliver: look, missed: look };
    followed.audiences.add(audience);
  });
}

function isReached(followed: FollowedChannel, { epoch, offset }: StreamPosition): boolean {
  const { position } = followed;
  return position !== undefined && position.epoch === epoch && position.offset >= offset;
}
