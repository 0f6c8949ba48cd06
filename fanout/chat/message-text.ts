/** What may stand in a message: checked for apps and for services alike, each error naming the field. */
import { GatewayError } from "#proto/errors.js";
import type { FieldCheck } from "#fanout/api/field-check.js";

export interface MessageText {
  readonly content: string;
  readonly messageType: string;
  /** Empty where none was given. */
  readonly clientMessageId: string;
}

/** In UTF-8. */
export const MAX_CONTENT_BYTES = 16 * 1024;
const MAX_CLIENT_ID_CHARACTERS = 128;
const MESSAGE_TYPE = /^[A-Za-z0-9_.-]{1,64}$/;
const DEFAULT_TYPE = "text";

/** @throws GatewayError invalid_argument, payload_too_large. */
export function checkText(text: MessageText, check: FieldCheck): MessageText {
  checkContent(text.content, check);
  const messageType = text.messageType === "" ? DEFAULT_TYPE : text.messageType;
  if (!MESSAGE_TYPE.test(messageType)) check.fail("message_type", "it has 1 to 64 of A-Z a-z 0-9 _ . -");
  check.optionalLine("client_message_id", text.clientMessageId, MAX_CLIENT_ID_CHARACTERS);
  return { ...text, messageType };
}

/** @throws GatewayError invalid_argument, payload_too_large. */
export function checkContent(content: string, check: FieldCheck): void {
  if (content === "") check.fail("content", "a message needs content");
  if (Buffer.byteLength(content) <= MAX_CONTENT_BYTES) return;
  throw new GatewayError("payload_too_large", `a message has at most ${MAX_CONTENT_BYTES} bytes`, {
    field: check.at("content").path,
  });
}
