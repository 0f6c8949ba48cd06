/**
 * A socket's session as its edge sees it: what is needed to open it at any home, and the frames that no
 * home has dealt with yet. For live sockets what the edge holds is the truth, so that a home can vanish.
 *
 * Everything here is bounded: at most `MAX_UNANSWERED_FRAMES` or `MAX_UNANSWERED_BYTES` of frames wait,
 * then the socket is not read on.
 */
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import type { Framing, OpenSession, Principal, UpFrame } from "#proto/gen/realtime/link/v1/link.js";
import { ConfirmedPositions, type StandingSession } from "./confirmed-positions.js";
import type { Group, GroupMember } from "./group.js";
import { advance, nextChange } from "./position-changes.js";
import type { SocketWriter } from "../socket/socket-writer.js";

export const MAX_UNANSWERED_FRAMES = 32;
/** A frame that waited so long for a home has no effect any more: its sender has given up or asked again. */
const FRAME_LIFETIME_US = 30_000_000;
export const MAX_UNANSWERED_BYTES = 64 * 1024;

/** Too many frames of its own without an answer; or the link to its home is full. */
export type PauseReason = "unanswered" | "link";

/** What a session may do with its socket. */
export interface SessionSocket {
  readonly writer: SocketWriter;
  /** A whole frame in the session's framing, as a WebSocket frame. */
  frame(payload: Uint8Array): Buffer;
  /** Closes after everything before it is written. */
  close(code: number, reason: string): void;
  /** Reading goes on when every reason to pause is gone. */
  pauseReading(reason: PauseReason): void;
  resumeReading(reason: PauseReason): void;
}

export interface UnansweredFrame {
  readonly upSequence: number;
  readonly receivedAtUs: number;
  readonly payload: Uint8Array;
  /** Sent to the present home. */
  isInFlight: boolean;
  /** Links that died while this frame was in flight on them. */
  linkDeaths: number;
}

/** Where a session lives. */
export type Home<Link> =
  /** No fanout takes it at the moment. */
  | { readonly at: "nowhere" }
  | { readonly at: "link"; readonly link: Link }
  /** Its home was asked to give it back. */
  | { readonly at: "releasing"; readonly link: Link };

export interface EdgeSessionOptions {
  readonly number: number;
  readonly principal: Principal;
  readonly framing: Framing;
  readonly connectionId: string;
  readonly deviceId: string;
  readonly platform: string;
  readonly replyTo: number;
  readonly traceparent: string;
  readonly heartbeatIntervalMs: number;
  /** The client said that its first frame is a `resume`. */
  readonly awaitsResume: boolean;
  /** It wants to follow what its user takes part in. */
  readonly followOwn: boolean;
  readonly socket: SessionSocket;
}

export class EdgeSession<Link> implements GroupMember, StandingSession {
  readonly number: number;
  readonly framing: Framing;
  readonly connectionId: string;
  readonly socket: SessionSocket;
  home: Home<Link> = { at: "nowhere" };
  /** The groups that the socket is in, each with the number of the change that its joining was. */
  readonly groups = new Map<Group, number>();
  /** Why the socket closed while the session had no home that could be told: the next one is. */
  closedBecause: string | undefined;
  /** Positions in channels that the present home has not joined yet: from earlier homes, or of missed events. */
  readonly carriedPositions = new Map<string, Position>();
  carriedChange = 0;
  readonly confirmed = new ConfirmedPositions();
  /** Versions of latest values that earlier homes gave the socket; an older home knew newer values than the present. */
  #seenVersions: Map<string, number> | undefined;
  #open: Omit<EdgeSessionOptions, "socket">;
  /** Bytes as characters: for few of them a buffer takes five times the memory. */
  #state = "";
  #nextUpSequence = 1;
  #lastReceivedAtUs = 0;
  #unanswered: UnansweredFrame[] = [];
  #unansweredBytes = 0;
  #isPaused = false;
  #wasOpened = false;

  constructor(options: EdgeSessionOptions) {
    const { socket, ...open } = options;
    this.#open = open;
    this.number = options.number;
    this.framing = options.framing;
    this.connectionId = options.connectionId;
    this.socket = socket;
  }

  /** What rendezvous hashing takes. */
  get homeKey(): string {
    return `${this.#open.principal.app}/${this.#open.principal.userId}`;
  }

  /** What the last home wants its successor to know. Empty: the session was never open. */
  get state(): Uint8Array {
    return Buffer.from(this.#state, "latin1");
  }

  set state(bytes: Uint8Array) {
    this.#state = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("latin1");
  }

  get unanswered(): readonly UnansweredFrame[] {
    return this.#unanswered;
  }

  /** Whether any home was asked to open it. */
  get wasOpened(): boolean {
    return this.#wasOpened;
  }

  /** It goes on with another token of its user: the next home is told of this one. */
  refresh(principal: Principal): void {
    this.#open = { ...this.#open, principal };
  }

  /** Takes a frame from the socket; it waits here until a home has dealt with it. */
  take(payload: Uint8Array, nowUs: number): UnansweredFrame {
    this.#lastReceivedAtUs = Math.max(nowUs, this.#lastReceivedAtUs + 1);
    const frame = {
      upSequence: this.#nextUpSequence,
      receivedAtUs: this.#lastReceivedAtUs,
      payload,
      isInFlight: false,
      linkDeaths: 0,
    };
    this.#nextUpSequence += 1;
    this.#unanswered.push(frame);
    this.#unansweredBytes += payload.length;
    this.#readOrPause();
    return frame;
  }

  /** Frames up to this one were dealt with. */
  acknowledge(upSequence: number): void {
    let answered = 0;
    for (const frame of this.#unanswered) {
      if (frame.upSequence > upSequence) break;
      this.#unansweredBytes -= frame.payload.length;
      answered += 1;
    }
    if (answered === 0) return;
    this.#unanswered = answered === this.#unanswered.length ? [] : this.#unanswered.slice(answered);
    this.#readOrPause();
  }

  /** Counts a death of the link for the frames that it carried; returns those that died too often, taken out. */
  takePoison(maxLinkDeaths: number): readonly UnansweredFrame[] {
    const poison: UnansweredFrame[] = [];
    const kept: UnansweredFrame[] = [];
    for (const frame of this.#unanswered) {
      if (frame.isInFlight) frame.linkDeaths += 1;
      frame.isInFlight = false;
      if (frame.linkDeaths < maxLinkDeaths) kept.push(frame);
      else {
        poison.push(frame);
        this.#unansweredBytes -= frame.payload.length;
      }
    }
    this.#unanswered = kept;
    this.#readOrPause();
    return poison;
  }

  /** A missed event was written: until it joins the channel, the socket stands there. */
  stands(channel: string, position: Position): void {
    if (advance(this.carriedPositions, channel, position)) this.carriedChange = nextChange();
  }

  changeIn(group: Group): number {
    return group.changeFor(this);
  }

  positionIn(group: Group): Position | undefined {
    return group.positionOf(this);
  }

  /** Follows the group's channel no more. */
  leave(group: Group): void {
    group.remove(this);
    this.groups.delete(group);
    this.carriedPositions.delete(group.channel);
    this.confirmed.left(group.channel);
  }

  /** Leaves every group and notes where the socket stands in its channels. */
  leaveGroups(): void {
    this.confirmed.moved();
    for (const group of this.groups.keys()) {
      const position = group.positionOf(this);
      if (position !== undefined) advance(this.carriedPositions, group.channel, position);
      for (const [key, version] of group.latestVersions) this.#see(`${group.channel} ${key}`, version);
      group.remove(this);
    }
    this.groups.clear();
  }

  /** Whether a latest value is new to the socket. Only after a move is there anything to look up. */
  isNewer(channel: string, key: string, version: number): boolean {
    if (this.#seenVersions === undefined) return true;
    const name = `${channel} ${key}`;
    const seen = this.#seenVersions.get(name);
    if (seen === undefined) return true;
    if (version <= seen) return false;
    this.#seenVersions.delete(name);
    if (this.#seenVersions.size === 0) this.#seenVersions = undefined;
    return true;
  }

  /** Whether a latest value that comes to this socket alone is new to it; from now on it is not. */
  takeLatest(channel: string, key: string, version: number): boolean {
    if (!this.isNewer(channel, key, version)) return false;
    this.#see(`${channel} ${key}`, version);
    return true;
  }

  /** The socket is gone, and its home is not there to be told: nothing of it is sent again. */
  close(reason: string): void {
    this.closedBecause = reason;
    this.#unanswered = [];
    this.#unansweredBytes = 0;
  }

  openMessage(): OpenSession {
    this.#wasOpened = true;
    const { number, awaitsResume, ...open } = this.#open;
    const nextUpSequence = this.#unanswered[0]?.upSequence ?? this.#nextUpSequence;
    return {
      ...open,
      session: number,
      namespace: "native",
      state: this.state,
      positions: Object.fromEntries(this.carriedPositions),
      // Until a home has opened it, or has dealt with its first frame.
      awaitsResume: awaitsResume && this.#state === "" && nextUpSequence === 1,
      nextUpSequence,
    };
  }

  frameMessage(frame: UnansweredFrame): UpFrame {
    return {
      session: this.number,
      upSequence: frame.upSequence,
      receivedAtUs: frame.receivedAtUs,
      payload: frame.payload,
      deadlineUs: frame.receivedAtUs + FRAME_LIFETIME_US,
    };
  }

  #see(name: string, version: number): void {
    this.#seenVersions ??= new Map();
    // What the socket was not given, being older than what it has, says nothing about what it has.
    const seen = this.#seenVersions.get(name);
    if (seen === undefined || version > seen) this.#seenVersions.set(name, version);
  }

  #readOrPause(): void {
    const isFull =
      this.#unanswered.length >= MAX_UNANSWERED_FRAMES || this.#unansweredBytes >= MAX_UNANSWERED_BYTES;
    if (isFull === this.#isPaused) return;
    this.#isPaused = isFull;
    if (isFull) this.socket.pauseReading("unanswered");
    else this.socket.resumeReading("unanswered");
  }
}
