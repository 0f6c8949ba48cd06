/**
 * Message ids: where a message belongs, written so that it can be read back: channel, epoch, offset and number,
 * as in "conversation.c1.65d0a1f4000c8ab.9.7". An id is no secret and gives no right: its app is that of whoever
 * presents it, and what may be done is asked for its channel. Apps treat it as opaque. It has only characters of
 * identifiers, and one message has one spelling.
 *
 * The store makes ids too, in `channel/lua/publish-durable.lua`: `writeMessageId` is their description.
 */
import { GatewayError } from "#proto/errors.js";
import { channelOf, isIdentifier, type Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";

export interface MessageId {
  readonly channel: Channel;
  readonly epoch: string;
  /** Of the event that said it. */
  readonly offset: number;
  /** Among the channel's messages; the first has 1. */
  readonly number: number;
  readonly text: string;
}

export interface MessagePlace {
  readonly epoch: string;
  readonly offset: number;
  readonly number: number;
}

/** The channel's id may hold dots: what stands behind it is read from the end. `~` ends rotated epochs. */
const MESSAGE_ID = /^([a-z]{1,32})\.(.{1,128})\.([0-9a-f]{1,40}-?)\.([1-9]\d{0,15})\.([1-9]\d{0,15})$/s;

/** What the ids of all messages of a channel begin with. */
export function messageIdPrefix({ kind, id }: Channel): string {
  return `${kind}.${id}.`;
}

export function writeMessageId(prefix: string, { epoch, offset, number }: MessagePlace): string {
  return `${prefix}${epoch.replace("~", "-")}.${offset}.${number}`;
}

/** Undefined where it is none of this gateway's. */
export function readMessageId(app: string, text: string): MessageId | undefined {
  const [, kind = "", id = "", epoch = "", offset, number] = MESSAGE_ID.exec(text) ?? [];
  const place = { epoch: epoch.replace("-", "~"), offset: Number(offset), number: Number(number) };
  if (!CHANNEL_KINDS.has(kind) || !isIdentifier(id)) return undefined;
  if (!Number.isSafeInteger(place.offset) || !Number.isSafeInteger(place.number)) return undefined;
  return { channel: channelOf(app, kind, id), ...place, text };
}

/** @throws GatewayError invalid_argument, about this field. */
export function parseMessageId(app: string, text: string, field: string): MessageId {
  const id = readMessageId(app, text);
  if (id === undefined)
    throw new GatewayError("invalid_argument", "it is not the id of a message", { field });
  return id;
}
