/**
 * A sender's location as the bytes that go to the socket, built once: only the send time is written over before
 * each write. All dialects say the same: as many fields, with numbers of the same length.
 */
import { clientFrame, clientHeaderBytes } from "./client-frame.js";
import { wireUsOf, writeAccuracyText } from "./wire-time.js";

/** Stands where the send time will be. */
export const PLACEHOLDER_ACCURACY = 123_456.654321;

/** What every location says beside its sender and the order that it is for. */
export function locationFields(sender: number) {
  return {
    latitude: 48.137154,
    longitude: 11.576124,
    heading: 271.5,
    // By this the receivers tell the senders of a room apart.
    speed: sender,
    accuracy: PLACEHOLDER_ACCURACY,
  };
}

export class LocationFrame {
  #bytes: Buffer;
  readonly #isText: boolean;
  readonly #timeAt: number;

  private constructor(bytes: Buffer, timeAt: number, isText: boolean) {
    this.#bytes = bytes;
    this.#timeAt = timeAt;
    this.#isText = isText;
  }

  /** Of a text message that holds the placeholder. */
  static ofText(opcode: number, text: string): LocationFrame {
    const payload = Buffer.from(text);
    return LocationFrame.#of(opcode, payload, payload.indexOf(String(PLACEHOLDER_ACCURACY)), true);
  }

  /** Of a message that holds the placeholder as a double. */
  static ofBinary(opcode: number, payload: Uint8Array): LocationFrame {
    const placeholder = Buffer.alloc(8);
    placeholder.writeDoubleLE(PLACEHOLDER_ACCURACY);
    return LocationFrame.#of(opcode, payload, Buffer.from(payload).indexOf(placeholder), false);
  }

  static #of(opcode: number, payload: Uint8Array, placeholderAt: number, isText: boolean): LocationFrame {
    if (placeholderAt === -1) throw new Error("the message has no place for the send time");
    const frame = clientFrame(opcode, payload);
    return new LocationFrame(frame, clientHeaderBytes(payload.length) + placeholderAt, isText);
  }

  /** The bytes with this send time; the next call writes over them. */
  at(timeUs: number): Buffer {
    if (this.#isText) writeAccuracyText(this.#bytes, this.#timeAt, timeUs);
    else this.#bytes.writeDoubleLE(timeUs / US_PER_SECOND, this.#timeAt);
    return this.#bytes;
  }

  /** What was given before is still being written: from here on other bytes are. */
  renew(): void {
    this.#bytes = Buffer.from(this.#bytes);
  }
}

const US_PER_SECOND = 1_000_000;

/** For tests: the wire time that a placeholder reads as. */
export const PLACEHOLDER_US = wireUsOf(PLACEHOLDER_ACCURACY);
