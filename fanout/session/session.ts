/**
 * A live session on its home fanout: who it is, what it follows, and its frames, dealt with one after the
 * other in the order in which the socket sent them. What a frame does is its handler's business.
 */
import { encodeServerFrame } from "#proto/frame-codec.js";
import type { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import {
  DeliveryClass,
  DownFrame,
  SessionSnapshot,
  type Framing,
  type OpenSession,
  type Principal,
  type UpFrame,
} from "#proto/gen/realtime/link/v1/link.js";
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { capabilityOf, type Capability } from "#fanout/policy/policy.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { HistoryEvent, LatestValue, StreamPosition } from "#fanout/channel/broker.js";
import { EventFrames, toPosition } from "#fanout/channel/event-frames.js";
import type { FanoutLink } from "#fanout/link/fanout-link.js";
import type { GroupMember } from "#fanout/link/link-group.js";

export interface SessionOptions {
  readonly link: FanoutLink;
  readonly open: OpenSession;
  readonly principal: Principal;
  readonly sessionId: string;
  readonly sampleCounter: number;
  /** Of its resume token. */
  readonly generation: number;
  readonly isGenerationConfirmed: boolean;
  /** Deals with one frame; never throws. Returns a promise only where it must wait. */
  readonly handle: (session: Session, frame: UpFrame) => Promise<void> | undefined;
}

export class Session implements GroupMember {
  readonly number: number;
  readonly connectionId: string;
  readonly framing: Framing;
  readonly principal: Principal;
  readonly capability: Capability;
  readonly sessionId: string;
  readonly namespace: string;
  readonly open: OpenSession;
  readonly link: FanoutLink;
  /** By the channel's key. */
  readonly follows = new Map<string, FollowedChannel>();
  /** Locations since the last one that was sampled. */
  sampleCounter: number;
  /** Of its resume token; grows with each resume. */
  generation: number;
  /** Whether the client is known to have the token of this generation. */
  isGenerationConfirmed: boolean;
  record: SessionRecord | undefined;
  readonly #handle: SessionOptions["handle"];
  #frames: UpFrame[] = [];
  #lastUpSequence: number;
  #isBusy = true;
  #isEnded = false;
  #isSilent = false;
  #hasFailed = false;
  #whenIdle: (() => void) | undefined;

  constructor(options: SessionOptions) {
    this.open = options.open;
    this.link = options.link;
    this.number = options.open.session;
    this.connectionId = options.open.connectionId;
    this.framing = options.open.framing;
    this.namespace = options.open.namespace;
    this.principal = options.principal;
    this.capability = capabilityOf(options.principal.role);
    this.sessionId = options.sessionId;
    this.sampleCounter = options.sampleCounter;
    this.generation = options.generation;
    this.isGenerationConfirmed = options.isGenerationConfirmed;
    this.#handle = options.handle;
    this.#lastUpSequence = options.open.nextUpSequence - 1;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  /** The session is open: frames that waited are dealt with now. */
  begin(): void {
    this.#isBusy = false;
    this.#run();
  }

  /** It could not be opened: its frames are nobody's, and it can be given back. */
  fail(): void {
    this.#hasFailed = true;
    this.#frames = [];
    this.begin();
  }

  /** A frame that was seen before is not dealt with again. The edge bounds how many can wait. */
  take(frame: UpFrame): void {
    if (this.#isEnded || this.#hasFailed || frame.upSequence <= this.#lastUpSequence) return;
    this.#lastUpSequence = frame.upSequence;
    this.#frames.push(frame);
    this.#run();
  }

  /** Calls back once everything that was taken is dealt with. */
  whenIdle(callback: () => void): void {
    this.#whenIdle = callback;
    this.#run();
  }

  /** The socket is gone: what it sent is still dealt with, and nothing is said to it any more. */
  silence(): void {
    this.#isSilent = true;
  }

  end(): void {
    this.#isSilent = true;
    this.#isEnded = true;
    this.#frames = [];
  }

  send(frame: ServerFrame): void {
    this.sendEncoded(encodeServerFrame(this.framing, frame));
  }

  /** Answers the frame of this up-sequence, which is dealt with by that. */
  answer(frame: ServerFrame, upSequence: number): void {
    this.#sendDown({ payload: encodeServerFrame(this.framing, frame), upSequence });
  }

  /** An event that the socket missed. The edge notes that it stands there now. */
  sendMissed(channel: FollowedChannel, { position, payload }: HistoryEvent): void {
    this.#sendDown({
      payload: new EventFrames(payload, position).in(this.framing),
      channel: channel.channel.name,
      position: toPosition(position),
    });
  }

  sendEncoded(payload: Uint8Array): void {
    this.#sendDown({ payload });
  }

  /** A channel's latest value, for this socket alone. */
  sendLatest(channel: FollowedChannel, value: LatestValue): void {
    if (this.#isSilent) return;
    this.link.send({
      $case: "frame",
      value: {
        session: this.number,
        payload: new EventFrames(value.payload).in(this.framing),
        deliveryClass: DeliveryClass.DELIVERY_CLASS_LATEST,
        channel: channel.channel.name,
        conflationKey: value.key,
        version: value.version,
        upSequence: 0,
      },
    });
  }

  /** The socket gets the channel's events behind `after` from now on. */
  join(channel: FollowedChannel, after: StreamPosition | undefined): void {
    this.follows.set(channel.channel.key, channel);
    channel.followers.add(this);
    this.link.join(this, channel, after);
  }

  leave(channel: FollowedChannel): void {
    this.follows.delete(channel.channel.key);
    channel.followers.delete(this);
    this.link.leave(this, channel);
  }

  /** Gives the edge what the next home must know. */
  saveState(): void {
    if (!this.#isSilent)
      this.link.send({ $case: "state", value: { session: this.number, state: this.snapshot() } });
  }

  snapshot(): Uint8Array {
    return SessionSnapshot.encode({
      sessionId: this.sessionId,
      channels: [...this.follows.values()].map(({ channel }) => channel.name),
      upSequence: this.#lastUpSequence,
      sampleCounter: this.sampleCounter,
      generation: this.generation,
      isGenerationConfirmed: this.isGenerationConfirmed,
    }).finish();
  }

  close(code: number, reason: string): void {
    if (!this.#isSilent) this.link.send({ $case: "close", value: { session: this.number, code, reason } });
  }

  #sendDown(frame: Partial<DownFrame>): void {
    if (this.#isSilent) return;
    const deliveryClass = DeliveryClass.DELIVERY_CLASS_DURABLE;
    this.link.send({
      $case: "frame",
      value: DownFrame.fromPartial({ session: this.number, deliveryClass, ...frame }),
    });
  }

  #run(): void {
    while (!this.#isBusy) {
      const frame = this.#frames.shift();
      if (frame === undefined) {
        const callback = this.#whenIdle;
        this.#whenIdle = undefined;
        callback?.();
        return;
      }
      const working = this.#handle(this, frame);
      if (working === undefined) this.#done(frame);
      else {
        this.#isBusy = true;
        void working.then(() => {
          this.#isBusy = false;
          this.#done(frame);
          this.#run();
        });
      }
    }
  }

  #done(frame: UpFrame): void {
    if (!this.#isEnded) this.link.acknowledge(this.number, frame.upSequence);
  }
}
