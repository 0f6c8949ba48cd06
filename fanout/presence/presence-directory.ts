/**
 * The directory as the policy asks it, with the channels of presence in it. Nobody is granted to see a user's
 * presence one by one: who takes part in a channel with them may, of a kind whose members are kept. So their part in `presence:<user id>` is made of
 * the parts that both have; a grant of that channel counts too, for apps whose users have other ties.
 */
import type { Channel } from "#fanout/channel/channel.js";
import { userChannel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import {
  PartUnknownError,
  type Directory,
  type DirectoryRecord,
  type Participation,
} from "#fanout/directory/directory.js";
import { PRESENCE_KIND } from "./presence-channel.js";

/** Who may see a user's presence: who shares a channel with them, or everybody in the app. */
export type PresenceVisibility = "shared" | "app";

export class PresenceDirectory implements Directory {
  readonly #directory: Directory;
  readonly #visibility: PresenceVisibility;

  constructor(directory: Directory, visibility: PresenceVisibility = "shared") {
    this.#directory = directory;
    this.#visibility = visibility;
  }

  grant(participation: Participation): Promise<void> {
    return this.#directory.grant(participation);
  }

  end(channel: Channel, userId: string): Promise<void> {
    return this.#directory.end(channel, userId);
  }

  participation(channel: Channel, userId: string): Promise<Participation | undefined> {
    if (channel.kind !== PRESENCE_KIND) return this.#directory.participation(channel, userId);
    return this.#mayWatch(channel, userId);
  }

  participants(channel: Channel): Promise<readonly Participation[]> {
    return this.#directory.participants(channel);
  }

  participationsOf(app: string, userId: string): Promise<readonly Participation[]> {
    return this.#directory.participationsOf(app, userId);
  }

  /** Of a channel of presence: what is known of these users. */
  async recordOf(channel: Channel, among: readonly string[] = []): Promise<DirectoryRecord> {
    if (channel.kind !== PRESENCE_KIND) return this.#directory.recordOf(channel);
    const version = (await this.versions([channel]))[0] ?? 0;
    const parts: Participation[] = [];
    const ended = new Set<string>();
    let isComplete = true;
    for (const userId of new Set(among)) {
      try {
        const part = await this.#mayWatch(channel, userId);
        if (part === undefined) ended.add(userId);
        else parts.push(part);
      } catch (thrown) {
        if (!(thrown instanceof PartUnknownError)) throw thrown;
        isComplete = false;
      }
    }
    return { parts, ended, isComplete, version };
  }

  recordOfUser(app: string, userId: string): Promise<DirectoryRecord> {
    return this.#directory.recordOfUser(app, userId);
  }

  /** Of a channel of presence: it changes with what its user takes part in. */
  async versions(channels: readonly Channel[]): Promise<readonly number[]> {
    const asked = channels.flatMap((channel) =>
      channel.kind === PRESENCE_KIND ? [channel, userChannel(channel.app, channel.id)] : [channel],
    );
    const versions = (await this.#directory.versions(asked)).values();
    const next = (): number => versions.next().value ?? 0;
    return channels.map(({ kind }) => (kind === PRESENCE_KIND ? next() + next() : next()));
  }

  /** The longest of what both take part in. @throws PartUnknownError. */
  async #mayWatch(channel: Channel, userId: string): Promise<Participation | undefined> {
    const { app, id: watched } = channel;
    const part = (expiresAtMs: number): Participation => ({
      channel,
      userId,
      relation: "member",
      expiresAtMs,
    });
    if (watched === userId || this.#visibility === "app") return part(Number.MAX_SAFE_INTEGER);
    const [theirs, own] = await Promise.all([
      this.#directory.recordOfUser(app, watched),
      this.#directory.recordOfUser(app, userId),
    ]);
    const ends = new Map(theirs.parts.map(({ channel: { key }, expiresAtMs }) => [key, expiresAtMs]));
    let endsAtMs = 0;
    for (const { channel: shared, expiresAtMs } of own.parts) {
      const isGranted = shared.key === channel.key;
      // Who is told of the same (a notification, a third user's presence) is nobody that others see there.
      if (!isGranted && CHANNEL_KINDS.get(shared.kind)?.members === "unknown") continue;
      const until = isGranted ? expiresAtMs : Math.min(expiresAtMs, ends.get(shared.key) ?? 0);
      endsAtMs = Math.max(endsAtMs, until);
    }
    if (endsAtMs > 0) return part(endsAtMs);
    if (!theirs.isComplete || !own.isComplete) throw new PartUnknownError();
    return undefined;
  }
}
