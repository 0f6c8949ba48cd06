/**
 * Reads the id of a native frame, without dealing with the rest: only for a frame that the edge must
 * answer itself because fanouts died of it. 0 where it has none that can be read.
 */
import { jsonFrameId } from "#proto/frame-codec.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";

const ID_TAG = 0x08;

export function frameId(framing: Framing, payload: Uint8Array): number {
  return framing === Framing.FRAMING_JSON ? jsonId(payload) : protobufId(payload);
}

function jsonId(payload: Uint8Array): number {
  try {
    return jsonFrameId(JSON.parse(Buffer.from(payload).toString()));
  } catch {
    return 0;
  }
}

/** Encoders write fields in the order of their numbers: the id is first. */
function protobufId(payload: Uint8Array): number {
  if (payload[0] !== ID_TAG) return 0;
  let id = 0;
  for (let index = 1; index <= 5 && index < payload.length; index += 1) {
    const byte = payload[index] ?? 0;
    id += (byte & 0x7f) * 2 ** (7 * (index - 1));
    if (byte < 0x80) return id <= 0xffff_ffff ? id : 0;
  }
  return 0;
}
