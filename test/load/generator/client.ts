/**
 * One client: a raw socket on its way into its room or in it, over as many connections as it takes. It counts
 * what it receives and answers heartbeats; when to connect, to come back and to send is the crowd's business.
 *
 * All sockets of a process are read into one buffer: what is in it is dealt with before `#read` returns.
 */
import { connect, type Socket } from "node:net";
import type { Endpoint } from "../contestant.js";
import { clientFrame } from "./client-frame.js";
import type { Deliveries } from "./deliveries.js";
import type { ClientDialect, Heard, Seat } from "./dialect.js";
import { FrameReader, Opcode, type FrameSink } from "./frame-reader.js";
import { handshakeRequest, HandshakeReader } from "./handshake.js";
import type { LocationFrame } from "./location-frame.js";
import { NewestOfSenders } from "./newest-of-senders.js";
import { wireNowUs } from "./wire-time.js";

/** What all clients of a process share. */
export interface ClientSurroundings {
  readonly dialect: ClientDialect;
  readonly endpoints: readonly Endpoint[];
  readonly deliveries: Deliveries;
  readonly readBuffer: Buffer;
  /** It is in its room. */
  entered(client: Client, how: Entry): void;
  /** Its connection ended, or it will not be let in; told once a connection. */
  ended(client: Client, end: ConnectionEnd): void;
  /** Something was refused, as a location. */
  erred(reason: string): void;
}

export interface Entry {
  /** An earlier session went on. */
  readonly resumed: boolean;
  readonly recovered: boolean;
}

export interface ConnectionEnd {
  readonly reason: string;
  readonly wasIn: boolean;
  /** Trying again does not help. */
  readonly isFinal: boolean;
  readonly retryAfterMs: number;
}

type Phase = "away" | "upgrading" | "entering" | "in";

const SWITCHING_PROTOCOLS = 101;

export class Client implements FrameSink {
  readonly seat: Seat;
  readonly #surroundings: ClientSurroundings;
  readonly #newest: NewestOfSenders;
  readonly #location: LocationFrame | undefined;
  #phase: Phase = "away";
  #socket: Socket | undefined;
  #frames = new FrameReader(this);
  #handshake: HandshakeReader | undefined;
  #resumeToken = "";
  #wasResumed = false;
  #attempts = 0;
  #arrivedUs = 0;
  /** Of its own last location: two of them never carry the same time. */
  #sentUs = 0;

  constructor(seat: Seat, surroundings: ClientSurroundings) {
    this.seat = seat;
    this.#surroundings = surroundings;
    this.#newest = new NewestOfSenders(seat.senders);
    if (seat.sender > 0) this.#location = surroundings.dialect.locationFrame(seat);
  }

  get isIn(): boolean {
    return this.#phase === "in";
  }

  get isAway(): boolean {
    return this.#phase === "away";
  }

  /** Connects to the next of its endpoints; continues its session where it has one. */
  connect(): void {
    const { endpoints, readBuffer, dialect } = this.#surroundings;
    const endpoint = endpoints[(this.seat.endpoint + this.#attempts) % endpoints.length];
    if (endpoint === undefined) throw new Error("the contestant has no endpoint");
    this.#attempts += 1;
    this.#phase = "upgrading";
    this.#frames = new FrameReader(this);
    this.#handshake = new HandshakeReader();
    const socket = connect({
      ...endpoint,
      localAddress: this.seat.localAddress,
      noDelay: true,
      onread: {
        buffer: readBuffer,
        callback: (length) => {
          if (socket === this.#socket) this.#read(length);
          return true;
        },
      },
    });
    this.#socket = socket;
    let failure = "the connection ended";
    socket.on("error", (error) => (failure = error.message));
    socket.on("close", () => {
      if (socket === this.#socket) this.#end({ reason: failure });
    });
    const resumes = this.#resumeToken !== "";
    socket.write(handshakeRequest(endpoint, dialect.handshake(this.seat, { resumes })));
  }

  /** As when its network goes away: the socket ends without a word, and nothing is told. */
  drop(): void {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#phase = "away";
    socket?.destroy();
  }

  /** Ends its connection for a reason of the generator's own. */
  giveUp(reason: string): void {
    this.#end({ reason });
  }

  /** Sends its location; the wire time that it carries, or -1 where it is not in its room. */
  sendLocation(): number {
    const socket = this.#socket;
    if (this.#phase !== "in" || socket === undefined || this.#location === undefined) return -1;
    this.#sentUs = Math.max(wireNowUs(), this.#sentUs + 1);
    socket.write(this.#location.at(this.#sentUs));
    // The kernel did not take it all: the rest is read from these bytes later.
    if (socket.writableLength > 0) this.#location.renew();
    return this.#sentUs;
  }

  #read(length: number): void {
    const { readBuffer } = this.#surroundings;
    this.#arrivedUs = wireNowUs();
    try {
      if (this.#handshake === undefined) this.#frames.read(readBuffer, length);
      else this.#readHandshake(this.#handshake, readBuffer.subarray(0, length));
    } catch (error) {
      this.#end({ reason: String(error) });
    }
  }

  #readHandshake(reader: HandshakeReader, bytes: Buffer): void {
    const answer = reader.read(bytes);
    if (answer === undefined) return;
    const { status, retryAfterMs, rest } = answer;
    if (status !== SWITCHING_PROTOCOLS) {
      this.#end({ reason: `HTTP ${status}`, retryAfterMs });
      return;
    }
    this.#handshake = undefined;
    this.#phase = "entering";
    const greeting = this.#surroundings.dialect.greeting(this.seat, this.#resumeToken);
    if (greeting !== undefined) this.#say(greeting);
    this.#frames.read(rest, rest.length);
  }

  frame(opcode: number, bytes: Buffer, start: number, end: number): void {
    const { dialect, deliveries } = this.#surroundings;
    if (opcode === dialect.opcode) {
      const sentUs = dialect.sentUs(bytes, start, end);
      if (sentUs < 0) this.#hear(dialect.hear(this.seat, bytes.subarray(start, end)));
      else if (this.#newest.isNewer(sentUs, this.#newest.needsSender ? dialect.sender(bytes, start, end) : 0))
        deliveries.add(sentUs, this.#arrivedUs);
      else deliveries.addRepeated(sentUs);
    } else if (opcode === Opcode.PING) {
      this.#socket?.write(clientFrame(Opcode.PONG, bytes.subarray(start, end)));
    } else if (opcode === Opcode.CLOSE) {
      const code = end - start >= 2 ? bytes.readUInt16BE(start) : 1005;
      this.#end({ reason: `closed with ${code} ${bytes.toString("utf8", start + 2, end)}`.trimEnd() });
    } else if (opcode !== Opcode.PONG) {
      this.#end({ reason: `a frame with opcode ${opcode}` });
    }
  }

  #hear(heard: Heard): void {
    switch (heard.type) {
      case "nothing":
        return;
      case "say":
        this.#say(heard.payload);
        return;
      case "welcomed":
        this.#resumeToken = heard.resumeToken;
        this.#wasResumed = heard.resumed;
        if (heard.say !== undefined) this.#say(heard.say);
        return;
      case "entered":
        if (this.#phase !== "entering") return;
        this.#phase = "in";
        this.#surroundings.entered(this, { resumed: this.#wasResumed, recovered: heard.recovered });
        return;
      case "refused":
        this.#end({ reason: heard.reason, isFinal: true });
        return;
      case "error":
        this.#surroundings.erred(heard.reason);
    }
  }

  #say(payload: Uint8Array): void {
    this.#socket?.write(clientFrame(this.#surroundings.dialect.opcode, payload));
  }

  #end(end: Partial<ConnectionEnd> & { readonly reason: string }): void {
    if (this.#phase === "away") return;
    const wasIn = this.#phase === "in";
    this.drop();
    this.#surroundings.ended(this, { isFinal: false, retryAfterMs: 0, ...end, wasIn });
  }
}
