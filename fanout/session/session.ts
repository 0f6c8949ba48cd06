/**
 * A live session on its home fanout: who it is, what it follows, and its frames, dealt with one after the
 * other in the order in which the socket sent them. What a frame does is its handler's business.
 */
import { encode } from "#proto/encode.js";
import { encodeServerFrame } from "#proto/frame-codec.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
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
import { capabilityOf, isAble, type Capability } from "#fanout/policy/policy.js";
import { channelKey, type Channel } from "#fanout/channel/channel.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { HistoryEvent, LatestValue, StreamPosition } from "#fanout/channel/broker.js";
import { EventFrames, toPosition } from "#fanout/channel/event-frames.js";
import type { LocationTrack } from "#fanout/location/location-sanity.js";
import type { FanoutLink } from "#fanout/link/fanout-link.js";
import type { SessionAllowance } from "#fanout/limits/session-allowance.js";
import type { GroupMember } from "#fanout/link/link-group.js";
import type { ResumableRecord } from "./resumable-record.js";

export interface SessionOptions {
  readonly link: FanoutLink;
  readonly open: OpenSession;
  readonly principal: Principal;
  /** Which session it is, and what is saved of it. */
  readonly resumable: ResumableRecord;
  readonly allowance: SessionAllowance;
  readonly sampleCounter: number;
  readonly declined?: Iterable<string>;
  /** Deals with one frame; never throws. Returns a promise only where it must wait. */
  readonly handle: (session: Session, frame: UpFrame) => Promise<void> | undefined;
}

export interface ArrivingChannel {
  readonly channel: Channel;
  /** Resolves once it is followed, or is not on its way any more. */
  readonly settled: Promise<void>;
}

export interface LastEntry {
  readonly channel: string;
  readonly upSequence: number;
}

/** As many as it can follow. */
const MAX_DECLINED = 256;

export class Session implements GroupMember {
  readonly number: number;
  readonly connectionId: string;
  readonly framing: Framing;
  readonly capability: Capability;
  readonly resumable: ResumableRecord;
  /** What it may send. */
  readonly allowance: SessionAllowance;
  readonly namespace: string;
  readonly open: OpenSession;
  readonly link: FanoutLink;
  /** By the channel's key. */
  readonly follows = new Map<string, FollowedChannel>();
  /** Channels that an earlier home followed and this one could not enter yet, by their keys. */
  readonly arriving = new Map<string, ArrivingChannel>();
  /** The last `subscribe` that brought it into a channel with everything behind `after`. */
  lastEntry: LastEntry | undefined;
  /** Its user's channels that the client left, and is not brought into again (`own-following.ts`). */
  readonly declined: Set<string>;
  /** Locations since the last one that was sampled. */
  sampleCounter: number;
  /** What its next location is held against. */
  locationTrack: LocationTrack | undefined;
  /** When its socket opened, by the store's clock in milliseconds; 0 before that is known. */
  connectedAtMs = 0;
  /** Told of each channel that it begins or ceases to follow, but not of those that it takes to another home. */
  onFollowing: ((channel: Channel, isFollowed: boolean) => void) | undefined;
  /** Its entry in the registry of connections. */
  record: SessionRecord | undefined;
  readonly #handle: SessionOptions["handle"];
  #principal: Principal;
  #frames: UpFrame[] = [];
  #lastUpSequence: number;
  #isWelcomed = false;
  #firstCame: (() => void) | undefined;
  #upSequenceInHand = 0;
  #isBusy = true;
  #isOpen = false;
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
    this.#principal = options.principal;
    this.capability = capabilityOf(options.principal.role);
    this.resumable = options.resumable;
    this.allowance = options.allowance;
    this.sampleCounter = options.sampleCounter;
    this.declined = new Set(options.declined);
    this.#handle = options.handle;
    this.#lastUpSequence = options.open.nextUpSequence - 1;
  }

  get principal(): Principal {
    return this.#principal;
  }

  get sessionId(): string {
    return this.resumable.sessionId;
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  get minSendIntervalMs(): number {
    return isAble(this.capability, "sendLocations") ? this.allowance.locationIntervalMs : 0;
  }

  /** Everything that it begins with is said: its state may be told. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Its socket is gone. */
  get isSilent(): boolean {
    return this.#isSilent;
  }

  /** Those that it follows, and those on their way in. */
  get channels(): readonly Channel[] {
    return [...this.follows.values(), ...this.arriving.values()].map(({ channel }) => channel);
  }

  get isAwaitingFirst(): boolean {
    return this.#firstCame !== undefined;
  }

  /** Nothing waits of it but the frame with which it resumes. */
  get hasAskedNothing(): boolean {
    return this.#frames.length <= (this.open.awaitsResume ? 1 : 0);
  }

  /** Of the frame that is being dealt with. */
  get upSequenceInHand(): number {
    return this.#upSequenceInHand;
  }

  /** The frame that came first, left in its place; undefined where none came in time or none will. */
  firstFrame(withinMs: number): Promise<UpFrame | undefined> {
    const [first] = this.#frames;
    if (first !== undefined || this.#isEnded) return Promise.resolve(first);
    return new Promise((resolve) => {
      const settle = (): void => {
        clearTimeout(timer);
        this.#firstCame = undefined;
        resolve(this.#frames[0]);
      };
      const timer = setTimeout(settle, withinMs).unref();
      this.#firstCame = settle;
    });
  }

  /** It goes on with another token, of the same user, app and role; so does its edge. */
  refresh(principal: Principal): void {
    this.#principal = principal;
    if (!this.#isSilent) this.link.send({ $case: "refresh", value: { session: this.number, principal } });
  }

  /** The first frame was dealt with while the session was being opened. */
  dealtWithFirst(): void {
    const first = this.#frames.shift();
    if (first !== undefined) this.#done(first);
  }

  /** The welcome was sent: a pong from here on is one of a ping that was written behind it. */
  welcomed(): void {
    this.#isWelcomed = true;
  }

  /** Everything that it begins with is said. */
  opened(): void {
    this.#isOpen = true;
    this.saveState();
  }

  /** Frames that waited are dealt with now. */
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
    this.#firstCame?.();
    this.#run();
  }

  /**
   * The socket has what was written to it up to these positions, and so the welcome before them. A frame does not
   * show that: it may have been on its way before the client had the welcome.
   */
  confirm(positions: Readonly<Record<string, Position>>): void {
    if (this.#isWelcomed) this.#confirmGeneration();
    for (const [name, position] of Object.entries(positions)) {
      const key = channelKey(this.principal.app, name);
      if (this.follows.has(key) || this.arriving.has(key)) this.resumable.confirm(name, position);
    }
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
    this.arriving.clear();
    this.#firstCame?.();
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

  /**
   * The socket gets the channel's events behind `after` from now on. A resume begins behind the cursor; absent:
   * where an earlier home has saved that it does.
   */
  join(channel: FollowedChannel, after: StreamPosition | undefined, cursor?: StreamPosition): void {
    this.follows.set(channel.channel.key, channel);
    this.arriving.delete(channel.channel.key);
    channel.followers.add(this);
    this.resumable.follow(channel.channel.name, cursor);
    this.link.join(this, channel, after);
    if (!this.#isSilent) this.onFollowing?.(channel.channel, true);
  }

  /** The client does not want it, though its user takes part. The one that was declined first is forgotten. */
  decline(channel: string): void {
    if (!this.open.followOwn) return;
    this.declined.add(channel);
    for (const oldest of this.declined) if (this.declined.size > MAX_DECLINED) this.declined.delete(oldest);
    this.saveState();
  }

  forgetDeclined(isOver: (channel: string) => boolean): void {
    for (const channel of this.declined) if (isOver(channel)) this.declined.delete(channel);
  }

  leave(channel: FollowedChannel): void {
    this.follows.delete(channel.channel.key);
    channel.followers.delete(this);
    this.resumable.unfollow(channel.channel.name);
    this.link.leave(this, channel);
    this.onFollowing?.(channel.channel, false);
  }

  /** Gives the edge what the next home must know. Before the session is open that would be half of it. */
  saveState(): void {
    if (this.#isOpen && !this.#isSilent)
      this.link.send({ $case: "state", value: { session: this.number, state: this.snapshot() } });
  }

  snapshot(): Uint8Array {
    return encode(SessionSnapshot, {
      sessionId: this.sessionId,
      channels: this.channels.map(({ name }) => name),
      upSequence: this.#lastUpSequence,
      sampleCounter: this.sampleCounter,
      generation: this.resumable.generation,
      isGenerationConfirmed: this.resumable.isGenerationConfirmed,
      homeStampUs: this.resumable.homeStampUs,
      enteredChannel: this.lastEntry?.channel ?? "",
      enteredUpSequence: this.lastEntry?.upSequence ?? 0,
      connectedAtMs: this.connectedAtMs,
      declinedChannels: [...this.declined],
      lastLocation: this.locationTrack?.accepted,
    });
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
      this.#upSequenceInHand = frame.upSequence;
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

  #confirmGeneration(): void {
    if (this.resumable.isGenerationConfirmed) return;
    this.resumable.confirmGeneration();
    this.saveState();
  }

  #done(frame: UpFrame): void {
    if (!this.#isEnded) this.link.acknowledge(this.number, frame.upSequence);
  }
}
