/** How much a user has not read: of channels that are named, or page by page of all in which they take part. */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { UnreadUpdate } from "#proto/gen/realtime/client/v1/event.js";
import type { FieldCheck } from "#fanout/api/field-check.js";
import type { Channel } from "#fanout/channel/channel.js";
import { PartUnknownError, type Directory, type DirectoryRecord } from "#fanout/directory/directory.js";
import { CHAT_KINDS } from "#fanout/policy/policy.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { ChatMarks } from "./marks.js";
import { toUnreadUpdate } from "./standing.js";

export const MAX_CHANNELS = 100;
const MAX_TOKEN_LENGTH = 192;

export interface UnreadPage {
  readonly channels: UnreadUpdate[];
  readonly nextPageToken: string;
}

/** Reads and checks the channels that a question names. @throws GatewayError invalid_argument, not_found. */
export function checkQuestion(
  app: string,
  question: { readonly channels: readonly string[]; readonly pageToken: string },
  check: FieldCheck,
): readonly Channel[] {
  const { channels, pageToken } = question;
  if (channels.length > MAX_CHANNELS) check.fail("channels", `at most ${MAX_CHANNELS} can be asked about`);
  if (pageToken.length > MAX_TOKEN_LENGTH || (pageToken !== "" && channels.length > 0)) {
    check.fail("page_token", "it continues a page of all channels: those that are named have one page");
  }
  return channels.map((name, index) => chatChannel(app, name, { check, field: `channels[${index}]` }));
}

/** A channel in which something can be said. @throws GatewayError invalid_argument, not_found. */
export function chatChannel(
  app: string,
  name: string,
  { check, field }: { readonly check: FieldCheck; readonly field: string },
): Channel {
  const { channel } = check.channel(field, app, name);
  if (!CHAT_KINDS.has(channel.kind))
    check.fail(field, `nothing is said in channels of the kind ${channel.kind}`);
  return channel;
}

export interface UnreadOptions {
  readonly marks: ChatMarks;
  readonly directory: Pick<Directory, "recordOfUser">;
  readonly relations: Pick<Relations, "ownParts">;
}

export class Unread {
  readonly #options: UnreadOptions;

  constructor(options: UnreadOptions) {
    this.#options = options;
  }

  /** All of them, in the order of their names. @throws GatewayError unavailable. */
  async of(userId: string, channels: readonly Channel[]): Promise<UnreadPage> {
    const standings = await this.#options.marks.standings(sorted(channels), userId);
    return { channels: standings.map(toUnreadUpdate), nextPageToken: "" };
  }

  /**
   * Of those that they take part in, also by their token, and in which something was said.
   * @throws GatewayError unavailable, also while it is not known in what they take part.
   */
  async pageOfOwn(principal: Principal, pageToken: string): Promise<UnreadPage> {
    return this.#page(principal.userId, await this.#options.relations.ownParts(principal), pageToken);
  }

  /** Of those that the user was granted a part in by name. @throws GatewayError as `pageOfOwn` does. */
  async pageOfUser(app: string, userId: string, pageToken: string): Promise<UnreadPage> {
    return this.#page(userId, await this.#options.directory.recordOfUser(app, userId), pageToken);
  }

  async #page(
    userId: string,
    { parts, isComplete }: Pick<DirectoryRecord, "parts" | "isComplete">,
    pageToken: string,
  ): Promise<UnreadPage> {
    if (!isComplete) throw new PartUnknownError();
    // Who takes part by name and by their token has two parts in one channel.
    const own = new Map(parts.map(({ channel }) => [channel.name, channel]));
    const chats = [...own.values()].filter(({ kind }) => CHAT_KINDS.has(kind));
    const behind = sorted(chats).filter(({ name }) => name > pageToken);
    const asked = behind.slice(0, MAX_CHANNELS);
    const standings = await this.#options.marks.standings(asked, userId);
    return {
      channels: standings.filter(({ lastNumber }) => lastNumber > 0).map(toUnreadUpdate),
      nextPageToken: behind.length > asked.length ? (asked.at(-1)?.name ?? "") : "",
    };
  }
}

function sorted(channels: readonly Channel[]): readonly Channel[] {
  return [...channels].sort((left, right) => (left.name < right.name ? -1 : 1));
}
