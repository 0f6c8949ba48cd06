/**
 * Messages get their number and id in the step that stores them, so no number is skipped or used twice. They come
 * to the store in two parts, the event without its body and the body, and the store puts them together: protobuf
 * takes fields in any order. Redis does the same in `lua/publish-durable.lua`.
 */
import { encode } from "#proto/encode.js";
import { ChatMessage } from "#proto/gen/realtime/client/v1/event.js";
import { writeMessageId, type MessagePlace } from "#fanout/chat/message-id.js";
import { varintBytes, writeVarint } from "./event-frames.js";

export interface NumberedMessage {
  /** The encoded `ChatMessage`, without number and id. */
  readonly body: Uint8Array;
  /** What the message's id begins with. */
  readonly idPrefix: string;
}

/** Tag of `Event.chat_message` (field 25, length-delimited). */
const BODY_TAG = Buffer.from([0xca, 0x01]);

/** The whole event, as it is stored. */
export function completeMessage(
  payload: Uint8Array,
  message: NumberedMessage,
  place: MessagePlace,
): Uint8Array {
  const made = { messageId: writeMessageId(message.idPrefix, place), number: place.number };
  const fields = encode(ChatMessage, ChatMessage.fromPartial(made));
  const bodyLength = message.body.length + fields.length;
  const length = Buffer.alloc(varintBytes(bodyLength));
  writeVarint(length, 0, bodyLength);
  return Buffer.concat([payload, BODY_TAG, length, message.body, fields]);
}
