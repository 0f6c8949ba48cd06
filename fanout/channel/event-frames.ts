/**
 * An event on its way to sockets: encoded at most once for each framing, however many sockets follow.
 * Protobuf messages of one type concatenate, so the position is appended to the stored bytes.
 */
import { encode } from "#proto/encode.js";
import { eventBodyName, serverFrameToJson } from "#proto/frame-codec.js";
import { Event, type Position } from "#proto/gen/realtime/client/v1/event.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import type { HistoryEvent, StreamPosition } from "./broker.js";

/** Tag of `ServerFrame.event` (field 15, length-delimited). */
const EVENT_TAG = 0x7a;

export class EventFrames {
  /** The event's part of a delivery over links, by the framings that are in it: encoded once for all edges. */
  readonly deliveries: Uint8Array[] = [];
  #protobuf: Uint8Array | undefined;
  #json: Uint8Array | undefined;
  #bodyName: string | undefined;

  constructor(
    private readonly payload: Uint8Array,
    private readonly position?: StreamPosition,
  ) {}

  get protobuf(): Uint8Array {
    this.#protobuf ??= this.#encode();
    return this.#protobuf;
  }

  get json(): Uint8Array {
    this.#json ??= serverFrameToJson(this.protobuf);
    return this.#json;
  }

  /** What the event is about, for metrics. */
  get bodyName(): string {
    this.#bodyName ??= eventBodyName(this.payload);
    return this.#bodyName;
  }

  in(framing: Framing): Uint8Array {
    return framing === Framing.FRAMING_JSON ? this.json : this.protobuf;
  }

  #encode(): Uint8Array {
    const { payload, position } = this;
    const suffix =
      position === undefined ? EMPTY : encode(Event, Event.fromPartial({ position: toPosition(position) }));
    const length = payload.length + suffix.length;
    const frame = Buffer.allocUnsafe(1 + varintBytes(length) + length);
    frame[0] = EVENT_TAG;
    let index = writeVarint(frame, 1, length);
    frame.set(payload, index);
    index += payload.length;
    frame.set(suffix, index);
    return frame;
  }
}

const EMPTY = new Uint8Array(0);

/** What a stored event weighs at a socket. Text of control characters is six times as long in JSON: that counts there. */
export function framedBytes({ payload, position }: HistoryEvent, framing: Framing): number {
  return framing === Framing.FRAMING_JSON ? new EventFrames(payload, position).json.length : payload.length;
}

export function toPosition({ epoch, offset, tag }: StreamPosition): Position {
  return { epoch, offset, tag };
}

/** How many bytes a number takes as a protobuf varint. */
export function varintBytes(value: number): number {
  let bytes = 1;
  for (let rest = value; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes += 1;
  return bytes;
}

/** Writes a protobuf varint; returns the index behind it. */
export function writeVarint(buffer: Uint8Array, start: number, value: number): number {
  let index = start;
  let rest = value;
  while (rest >= 0x80) {
    buffer[index] = (rest % 0x80) | 0x80;
    rest = Math.floor(rest / 0x80);
    index += 1;
  }
  buffer[index] = rest;
  return index + 1;
}
