/**
 * What a later release may send that version 1 does not know: fields and items with numbers from the
 * future, spliced into encoded messages. Protobuf messages concatenate, so a field may stand at the end.
 */
import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";

const FIELD_OF_THE_FUTURE = 900;

/** The same message with a field that nobody knows yet. */
export function withUnknownField(message: Uint8Array): Uint8Array {
  const field = new BinaryWriter()
    .tag(FIELD_OF_THE_FUTURE, WireType.LengthDelimited)
    .string("of a later release");
  return Buffer.concat([message, field.finish()]);
}

/** A message inside another one, as its only field. */
export function inField(number: number, message: Uint8Array): Uint8Array {
  return new BinaryWriter().tag(number, WireType.LengthDelimited).bytes(message).finish();
}

/** A batch of the link, either way, with one item that nobody knows yet. */
export function unknownItem(): Uint8Array {
  return inField(1, inField(FIELD_OF_THE_FUTURE, withUnknownField(new Uint8Array())));
}
