/**
 * Who takes part in a conversation, for the handlers that decide by it. As `session/own-participations.ts` does for
 * one's own part: in a channel that the session follows the directory is asked once, and again after a signal.
 */
import type { Channel } from "#fanout/channel/channel.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Directory, DirectoryRecord } from "#fanout/directory/directory.js";
import type { Session } from "#fanout/session/session.js";
import type { StoreClock } from "#fanout/store-clock.js";

interface KnownRecord {
  readonly record: DirectoryRecord;
  /** The channel's count of signals before the directory was asked. */
  readonly signals: number;
}

export class ChatMembers {
  readonly #directory: Pick<Directory, "recordOf">;
  readonly #clock: StoreClock;
  /** Lives as long as the channel is followed here. */
  readonly #known = new WeakMap<FollowedChannel, KnownRecord>();

  constructor(options: { directory: Pick<Directory, "recordOf">; clock: StoreClock }) {
    this.#directory = options.directory;
    this.#clock = options.clock;
  }

  /** @throws GatewayError unavailable while the directory cannot be asked. */
  async of(session: Session, channel: Channel): Promise<DirectoryRecord> {
    const followed = session.follows.get(channel.key);
    // Signals are not heard before the channel is active.
    if (followed?.isActive !== true) return this.#directory.recordOf(channel);
    const known = this.#known.get(followed);
    if (known?.signals === followed.signals && !this.#hasExpired(known)) return known.record;
    const { signals } = followed;
    const record = await this.#directory.recordOf(channel);
    if (record.isComplete) this.#known.set(followed, { record, signals });
    return record;
  }

  #hasExpired({ record }: KnownRecord): boolean {
    const nowMs = this.#clock.nowUs() / 1000;
    return record.parts.some(({ expiresAtMs }) => expiresAtMs <= nowMs);
  }
}
