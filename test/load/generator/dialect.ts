/**
 * The port of a dialect: how clients of one contestant enter their rooms, say where they are, and find in what
 * comes when it was sent. `sentUs` is what every received frame costs, so it decodes nothing: it knows where to
 * look. Everything else happens once a connection and is read by proper parsers.
 */
import type { Dialect } from "../contestant.js";
import { bareWsDialect } from "./bare-ws-dialect.js";
import { gatewayJsonDialect } from "./gateway-json-dialect.js";
import { gatewayProtobufDialect } from "./gateway-protobuf-dialect.js";
import type { LocationFrame } from "./location-frame.js";
import { socketIoDialect } from "./socket-io-dialect.js";

/** One client as the generator has planned it. */
export interface Seat {
  readonly userId: string;
  readonly room: string;
  /** Its number among the senders of its room, from 1; 0: it sends nothing. */
  readonly sender: number;
  /** Of its room. */
  readonly senders: number;
  /** Who receives what it sends: all of its room. */
  readonly roomSize: number;
  readonly credentials: string;
  readonly localAddress: string;
  /** The index of the endpoint that it connects to first. */
  readonly endpoint: number;
}

export interface HandshakeHead {
  /** With the query. */
  readonly path: string;
  /** Beside those of every WebSocket. */
  readonly headers: readonly string[];
}

/** What a frame that is no delivery means to a client on its way into its room. */
export type Heard =
  | { readonly type: "nothing" }
  | { readonly type: "say"; readonly payload: Uint8Array }
  /** The session is open; `say` leads into the room where that is not on its way by itself. */
  | {
      readonly type: "welcomed";
      readonly resumeToken: string;
      readonly resumed: boolean;
      readonly say: Uint8Array | undefined;
    }
  /** It is in its room, for a session that goes on: with nothing missing where `recovered`. */
  | { readonly type: "entered"; readonly recovered: boolean }
  /** It will not be let in. */
  | { readonly type: "refused"; readonly reason: string }
  /** Something else went wrong, as a location that was not taken. */
  | { readonly type: "error"; readonly reason: string };

export interface ClientDialect {
  /** Of the messages, both ways. */
  readonly opcode: number;
  handshake(seat: Seat, options: { readonly resumes: boolean }): HandshakeHead;
  /** What it says first, unasked. `resumeToken` is empty where it does not resume. */
  greeting(seat: Seat, resumeToken: string): Uint8Array | undefined;
  /** When the event in this message was sent, as the wire has it; -1 where it is no delivery. */
  sentUs(bytes: Buffer, start: number, end: number): number;
  /** Of a delivery: the sender's number in its room. */
  sender(bytes: Buffer, start: number, end: number): number;
  /** Of everything else. */
  hear(seat: Seat, message: Buffer): Heard;
  locationFrame(seat: Seat): LocationFrame;
}

/** A dialect of its own for each process: it may remember where it found things. */
export function clientDialect(name: Dialect): ClientDialect {
  switch (name) {
    case "gateway-protobuf":
      return gatewayProtobufDialect();
    case "gateway-json":
      return gatewayJsonDialect();
    case "socket-io":
      return socketIoDialect();
    case "bare-ws":
      return bareWsDialect();
  }
}
