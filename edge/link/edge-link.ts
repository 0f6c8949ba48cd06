/**
 * The edge's end of one link, for one generation: from the hello to the end of the stream. It sends
 * sessions and their frames up, and applies what the fanout says to sockets and groups, in its order.
 * When the stream ends the object is dead; its groups and late items die with it.
 */
import { encode } from "#proto/encode.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { BatchWriter } from "#proto/link/batch-writer.js";
import { CreditWindow, LINK_WINDOW_BYTES } from "#proto/link/credit-window.js";
import type { FlushPace } from "#proto/flush-pace.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import { VERIFY_TOKEN_FEATURE } from "#proto/link/features.js";
import { LINK_PROTOCOL, speaks } from "#proto/link/protocol-version.js";
import {
  ConnectRequest,
  ConnectResponse,
  DeliveryClass,
  type DownFrame,
  type EdgeItem,
  type FanoutHello,
  type FanoutItem,
  type FanoutStatus,
  type Principal,
  type TokenVerified,
  type VerifyToken,
} from "#proto/gen/realtime/link/v1/link.js";
import { ClosedSessions } from "./closed-sessions.js";
import type { StoreTime } from "../store-time.js";
import type { EdgeCounters } from "../edge-counters.js";
import { Group } from "../session/group.js";
import type { EdgeSession, UnansweredFrame } from "../session/edge-session.js";

export type LinkedSession = EdgeSession<EdgeLink>;

/** How a link ended; decides what happens to its sessions and frames. */
export type LinkEnd =
  /** The fanout said that it ends, or the edge ended it. */
  | { readonly how: "drained" }
  /** It broke, or its peer fell silent: frames in flight may be why. */
  | { readonly how: "died"; readonly reason: string };

export interface EdgeLinkListener {
  ready(link: EdgeLink): void;
  /** The fanout wants its sessions to be taken elsewhere. */
  draining(link: EdgeLink): void;
  /** A session's home wants a token checked; `verified` answers. */
  verify(link: EdgeLink, session: LinkedSession, request: VerifyToken): void;
  /** A session goes on with another token. */
  refreshed(session: LinkedSession, principal: Principal): void;
  /** A session that was asked for is given back. */
  released(link: EdgeLink, session: LinkedSession): void;
  ended(link: EdgeLink, end: LinkEnd): void;
}

export interface EdgeLinkOptions {
  readonly stream: LinkStream;
  readonly edgeId: string;
  readonly incarnation: string;
  readonly version: string;
  readonly counters: EdgeCounters;
  readonly listener: EdgeLinkListener;
  readonly nowMs: () => number;
  readonly clock: StoreTime;
  /** Default: every turn of the event loop. */
  readonly pace?: FlushPace;
}

const MAX_LATENCY_US = 60_000_000;
const MAX_CLOCK_ERROR_US = 100_000;

type Phase = "greeting" | "ready" | "draining" | "ended";

/** Silence of a peer for so long means that it is frozen or gone. */
const SILENCE_MS = 4000;
/** A watch that comes so late tells of this process's own pause, not of the peer's. */
const OWN_PAUSE_MS = 1500;

export class EdgeLink {
  readonly sessions = new Map<number, LinkedSession>();
  readonly closed = new ClosedSessions<LinkedSession>();
  #phase: Phase = "greeting";
  #hello: FanoutHello | undefined;
  #status: FanoutStatus | undefined;
  readonly #options: EdgeLinkOptions;
  readonly #writer: BatchWriter;
  readonly #window = new CreditWindow();
  readonly #groups = new Map<number, Group>();
  readonly #paused = new Set<LinkedSession>();
  #statusSequence = 0;
  #lastHeardMs: number;
  #lastTickMs: number;

  constructor(options: EdgeLinkOptions) {
    this.#options = options;
    this.#lastHeardMs = options.nowMs();
    this.#lastTickMs = this.#lastHeardMs;
    this.#writer = new BatchWriter({
      stream: options.stream,
      ...(options.pace && { pace: options.pace }),
      onOverflow: () => this.destroy("the queue to the fanout is full"),
    });
    options.stream.listen({
      batch: (batch) => this.#receive(batch),
      drained: () => this.#writer.drained(),
      closed: (reason) => this.#ended(reason),
    });
    this.#urgent({
      $case: "hello",
      value: {
        protocol: LINK_PROTOCOL,
        edgeId: options.edgeId,
        incarnation: options.incarnation,
        features: [VERIFY_TOKEN_FEATURE],
        creditBytes: LINK_WINDOW_BYTES,
        version: options.version,
      },
    });
  }

  /** The fanout's stable name; what rendezvous hashing takes. Empty before its hello. */
  get name(): string {
    return this.#hello?.fanoutId ?? "";
  }

  get phase(): Phase {
    return this.#phase;
  }

  get status(): FanoutStatus | undefined {
    return this.#status;
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  get groupCount(): number {
    return this.#groups.size;
  }

  /** Makes this fanout the session's home, and sends it what no home has dealt with. */
  open(session: LinkedSession): void {
    session.home = { at: "link", link: this };
    this.sessions.set(session.number, session);
    this.#send({ $case: "open", value: session.openMessage() });
    for (const frame of session.unanswered) this.frame(session, frame);
  }

  frame(session: LinkedSession, frame: UnansweredFrame): void {
    frame.isInFlight = true;
    this.#send({ $case: "frame", value: session.frameMessage(frame) });
    if (this.#writer.isUnderPressure && !this.#paused.has(session)) {
      this.#paused.add(session);
      session.socket.pauseReading("link");
      this.#options.counters.socketsPaused += 1;
    }
  }

  /** The socket is gone. */
  close(session: LinkedSession, reason: string): void {
    this.#forget(session);
    this.#send({ $case: "close", value: { session: session.number, reason } });
    this.closed.add(session, reason);
  }

  /** The socket has what was written to it up to these positions. */
  confirm(session: LinkedSession, positions: ReadonlyMap<string, Position>): void {
    const value = { session: session.number, positions: Object.fromEntries(positions) };
    this.#send({ $case: "confirm", value });
  }

  /** Answers a `verify`; a home that the session has left does not wait for it any more. */
  verified(verified: TokenVerified): void {
    if (this.sessions.has(verified.session)) this.#send({ $case: "verified", value: verified });
  }

  /** Asks for the session back; `released` follows. */
  release(session: LinkedSession): void {
    session.home = { at: "releasing", link: this };
    this.#send({ $case: "release", value: { session: session.number } });
  }

  /** Called once a second: tells that this edge lives, and notices a peer that fell silent. */
  tick(connections: number): void {
    if (this.#phase === "ended") return;
    const nowMs = this.#options.nowMs();
    const sinceTickMs = nowMs - this.#lastTickMs;
    this.#lastTickMs = nowMs;
    // After a pause of this process nothing can be said about the peer before it is heard again.
    if (sinceTickMs > OWN_PAUSE_MS) this.#lastHeardMs = nowMs;
    if (nowMs - this.#lastHeardMs > SILENCE_MS) {
      this.destroy("silent");
      return;
    }
    this.#statusSequence += 1;
    // A status does not wait for what is queued.
    this.#writer.flush();
    if (this.#writer.queuedBytes === 0) this.closed.precede(this.#statusSequence);
    this.#urgent({ $case: "status", value: { sequence: this.#statusSequence, connections } });
    if (this.#paused.size > 0 && !this.#writer.isUnderPressure) this.#resumeReading();
  }

  end(): void {
    this.#phase = "draining";
    this.#options.stream.end();
  }

  destroy(reason: string): void {
    this.#options.stream.destroy(reason);
  }

  #receive(batch: Uint8Array): void {
    if (this.#phase === "ended") return;
    this.#lastHeardMs = this.#options.nowMs();
    const items = this.#decode(batch);
    if (items === undefined) return;
    for (const { item } of items) if (item !== undefined) this.#apply(item);
    const credit = this.#window.consume(batch.length);
    if (credit > 0) this.#urgent({ $case: "credit", value: { bytes: credit } });
  }

  /** A peer that sends what is no batch loses its link, not this process. */
  #decode(batch: Uint8Array): readonly FanoutItem[] | undefined {
    try {
      return ConnectResponse.decode(batch).items;
    } catch {
      this.destroy("the fanout sent what is no batch");
      return undefined;
    }
  }

  #apply(item: NonNullable<FanoutItem["item"]>): void {
    switch (item.$case) {
      case "deliver": {
        const group = this.#groups.get(item.value.group);
        if (group === undefined) this.#options.counters.staleDeliveries += 1;
        else group.deliver(item.value);
        if (item.value.version > 0) this.#observeLatency(item.value.version);
        return;
      }
      case "frame": {
        const session = this.sessions.get(item.value.session);
        if (session === undefined) return;
        this.#writeFrame(session, item.value);
        return;
      }
      case "acknowledge": {
        const { sessions, upSequences } = item.value;
        for (const [index, number] of sessions.entries()) {
          this.sessions.get(number)?.acknowledge(upSequences[index] ?? 0);
        }
        return;
      }
      case "join": {
        const session = this.sessions.get(item.value.session);
        if (session === undefined) return;
        let group = this.#groups.get(item.value.group);
        if (group === undefined) {
          group = new Group(item.value.group, item.value.channel);
          this.#groups.set(group.number, group);
        }
        group.add(session, item.value.after);
        return;
      }
      case "leave": {
        const session = this.sessions.get(item.value.session);
        const group = this.#groups.get(item.value.group);
        if (session === undefined || group === undefined) return;
        session.leave(group);
        if (group.isEmpty) this.#groups.delete(group.number);
        return;
      }
      case "state": {
        const session = this.sessions.get(item.value.session);
        if (session !== undefined) session.state = item.value.state;
        return;
      }
      case "close": {
        this.sessions.get(item.value.session)?.socket.close(item.value.code, item.value.reason);
        return;
      }
      case "released": {
        const session = this.sessions.get(item.value.session);
        if (session === undefined) return;
        session.state = item.value.state;
        this.#forget(session);
        this.#options.listener.released(this, session);
        return;
      }
      case "verify": {
        const session = this.sessions.get(item.value.session);
        if (session !== undefined) this.#options.listener.verify(this, session, item.value);
        return;
      }
      case "refresh": {
        const session = this.sessions.get(item.value.session);
        const { principal } = item.value;
        if (session === undefined || principal === undefined) return;
        session.refresh(principal);
        this.#options.listener.refreshed(session, principal);
        return;
      }
      case "credit":
        this.#writer.grant(item.value.bytes);
        return;
      case "status":
        this.#status = item.value;
        this.closed.answered(item.value.sequence);
        if (item.value.sequence === this.#statusSequence) {
          const { nowMs, clock } = this.#options;
          clock.observe({ storeUs: item.value.storeTimeUs, askedMs: this.#lastTickMs, answeredMs: nowMs() });
        }
        return;
      case "hello":
        this.#greeted(item.value);
        return;
      case "drain":
        if (this.#phase !== "ready") return;
        this.#phase = "draining";
        this.#options.listener.draining(this);
        return;
    }
  }

  #writeFrame(session: LinkedSession, down: DownFrame): void {
    const { writer } = session.socket;
    const frame = session.socket.frame(down.payload);
    if (down.deliveryClass === DeliveryClass.DELIVERY_CLASS_EPHEMERAL) writer.writeEphemeral(frame);
    else if (down.deliveryClass !== DeliveryClass.DELIVERY_CLASS_LATEST) writer.write(frame);
    else if (session.takeLatest(down.channel, down.conflationKey, down.version)) {
      writer.writeLatest(`${down.channel} ${down.conflationKey}`, frame);
    }
    if (down.position !== undefined && down.channel !== "") session.stands(down.channel, down.position);
    if (down.upSequence !== 0) session.acknowledge(down.upSequence);
  }

  #observeLatency(acceptedAtUs: number): void {
    const latencyUs = this.#options.clock.nowUs() - acceptedAtUs;
    // Versions that a backend gave are no times. Times of one socket are made to grow within a millisecond.
    if (latencyUs > -MAX_CLOCK_ERROR_US && latencyUs < MAX_LATENCY_US)
      this.#options.counters.deliveryLatencyUs?.observe(Math.max(0, latencyUs));
  }

  #greeted(hello: FanoutHello): void {
    if (this.#phase !== "greeting") return;
    if (!speaks(LINK_PROTOCOL, hello.protocol)) {
      const { min, max } = LINK_PROTOCOL;
      this.destroy(
        `no common link protocol: the fanout chose ${hello.protocol}, this edge speaks ${min} to ${max}`,
      );
      return;
    }
    this.#hello = hello;
    this.#phase = "ready";
    this.#writer.grant(hello.creditBytes);
    this.#options.listener.ready(this);
  }

  /** Takes the session out of this link; it lives nowhere then. */
  #forget(session: LinkedSession): void {
    this.sessions.delete(session.number);
    const groups = [...session.groups.keys()];
    session.leaveGroups();
    for (const group of groups) if (group.isEmpty) this.#groups.delete(group.number);
    session.home = { at: "nowhere" };
    if (this.#paused.delete(session)) session.socket.resumeReading("link");
  }

  #resumeReading(): void {
    const paused = [...this.#paused];
    this.#paused.clear();
    // What they read from now on may pause them again.
    for (const session of paused) session.socket.resumeReading("link");
  }

  #ended(reason: string): void {
    if (this.#phase === "ended") return;
    const end: LinkEnd = this.#phase === "draining" ? { how: "drained" } : { how: "died", reason };
    this.#phase = "ended";
    this.#writer.stop();
    for (const session of this.sessions.values()) {
      session.leaveGroups();
      session.home = { at: "nowhere" };
    }
    this.#resumeReading();
    this.#groups.clear();
    this.#options.listener.ended(this, end);
  }

  #send(item: NonNullable<EdgeItem["item"]>): void {
    this.#writer.keep(encode(ConnectRequest, { items: [{ item }] }));
  }

  #urgent(item: NonNullable<EdgeItem["item"]>): void {
    this.#writer.urgent(encode(ConnectRequest, { items: [{ item }] }));
  }
}
