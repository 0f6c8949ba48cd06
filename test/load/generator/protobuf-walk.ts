/**
 * Finds a field in encoded protobuf by walking over the tags before it, without decoding or allocating. A
 * message that is broken has no such field.
 */

/** Varints of tags and lengths; longer ones are passed over, not read. */
const MAX_SHIFT = 28;

export class ProtobufWalk {
  /** Where the content of the field found last begins and ends. */
  start = 0;
  end = 0;
  #index = 0;

  /** Finds the first field with this tag (number × 8 + wire type) between the two. */
  find(bytes: Uint8Array, from: number, to: number, wanted: number): boolean {
    this.#index = from;
    while (this.#index < to) {
      const tag = this.#varint(bytes, to);
      const wireType = tag & 7;
      let length: number;
      if (wireType === 2) length = this.#varint(bytes, to);
      else if (wireType === 1) length = 8;
      else if (wireType === 5) length = 4;
      else if (wireType === 0) length = this.#varintBytes(bytes, to);
      else return false;
      const start = this.#index;
      const end = start + length;
      if (end > to || length < 0) return false;
      if (tag === wanted) {
        this.start = start;
        this.end = end;
        return true;
      }
      this.#index = end;
    }
    return false;
  }

  #varint(bytes: Uint8Array, to: number): number {
    let value = 0;
    for (let shift = 0; this.#index < to; shift += 7) {
      const byte = bytes[this.#index] ?? 0;
      this.#index += 1;
      if (shift <= MAX_SHIFT) value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
    }
    return value;
  }

  /** How long the varint here is. */
  #varintBytes(bytes: Uint8Array, to: number): number {
    let index = this.#index;
    while (index < to && (bytes[index] ?? 0) >= 0x80) index += 1;
    return index + 1 - this.#index;
  }
}
