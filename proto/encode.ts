/**
 * Encodes messages with one writer for the whole process: a writer of its own for each message would allocate
 * and grow a buffer each time, which costs more than the writing does.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";

interface Encoder<Message> {
  encode(message: Message, writer?: BinaryWriter): BinaryWriter;
}

/** A writer keeps the largest buffer that it ever needed: above this it is let go. */
const MAX_KEPT_BYTES = 256 * 1024;

let shared: BinaryWriter | undefined;

/** The message's bytes, in a buffer of their own. @throws Error for a value that its field cannot hold. */
export function encode<Message>(type: Encoder<Message>, message: Message): Uint8Array {
  const writer = shared ?? new BinaryWriter();
  // Where the encoding throws, what it left in the writer is let go with it.
  shared = undefined;
  const bytes = type.encode(message, writer).finish();
  if (bytes.length <= MAX_KEPT_BYTES) shared = writer;
  return bytes;
}
