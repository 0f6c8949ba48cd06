/**
 * The fanout's end of one link: reads what an edge says, and gathers what goes to its sockets. It owns
 * the groups of this edge; sessions and their rules are the session host's.
 */
import { encode } from "#proto/encode.js";
import { BatchWriter } from "#proto/link/batch-writer.js";
import { CreditWindow, LINK_WINDOW_BYTES } from "#proto/link/credit-window.js";
import type { FlushPace } from "#proto/flush-pace.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import { commonProtocol, LINK_PROTOCOL } from "#proto/link/protocol-version.js";
import {
  ConnectRequest,
  ConnectResponse,
  type CloseSession,
  type ConfirmPositions,
  type EdgeHello,
  type EdgeItem,
  type FanoutItem,
  type FanoutStatus,
  type OpenSession,
  type TokenVerified,
  type UpFrame,
} from "#proto/gen/realtime/link/v1/link.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { StreamPosition } from "#fanout/channel/broker.js";
import type { Logger } from "../fanout-logger.js";
import type { FanoutCounters } from "../fanout-counters.js";
import { LinkGroup, type GroupMember } from "./link-group.js";

export interface FanoutLinkListener {
  greeted(link: FanoutLink): void;
  open(link: FanoutLink, open: OpenSession): void;
  frame(link: FanoutLink, frame: UpFrame): void;
  confirm(link: FanoutLink, confirm: ConfirmPositions): void;
  close(link: FanoutLink, close: CloseSession): void;
  release(link: FanoutLink, session: number): void;
  verified(link: FanoutLink, verified: TokenVerified): void;
  /** What the edge's `/health` must say. */
  status(): Omit<FanoutStatus, "sequence">;
  ended(link: FanoutLink): void;
}

export interface FanoutLinkOptions {
  readonly stream: LinkStream;
  readonly fanoutId: string;
  readonly incarnation: string;
  readonly version: string;
  readonly listener: FanoutLinkListener;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
  readonly nowMs: () => number;
  /** Default: every turn of the event loop. */
  readonly pace?: FlushPace;
}

/** An edge that says nothing for so long is frozen or gone; its sessions have homes elsewhere by then. */
const SILENCE_MS = 10_000;

export class FanoutLink {
  readonly #options: FanoutLinkOptions;
  readonly #writer: BatchWriter;
  readonly #window = new CreditWindow();
  readonly #groups = new Map<FollowedChannel, LinkGroup>();
  readonly #acknowledged = new Map<number, number>();
  #hello: EdgeHello | undefined;
  #nextGroup = 1;
  #lastHeardMs: number;
  #isEnded = false;

  constructor(options: FanoutLinkOptions) {
    this.#options = options;
    this.#lastHeardMs = options.nowMs();
    this.#writer = new BatchWriter({
      stream: options.stream,
      ...(options.pace && { pace: options.pace }),
      onOverflow: () => this.destroy("the queue to the edge is full"),
    });
    options.stream.listen({
      batch: (batch) => this.#receive(batch),
      drained: () => this.#writer.drained(),
      closed: (reason) => this.#ended(reason),
    });
  }

  get edgeId(): string {
    return this.#hello?.edgeId ?? "";
  }

  get edgeIncarnation(): string {
    return this.#hello?.incarnation ?? "";
  }

  get isOpen(): boolean {
    return this.#hello !== undefined && !this.#isEnded;
  }

  /** Whether the edge has this optional behaviour. */
  hasFeature(name: string): boolean {
    return this.#hello?.features.includes(name) === true;
  }

  get queuedBytes(): number {
    return this.#writer.queuedBytes;
  }

  get writer(): BatchWriter {
    return this.#writer;
  }

  send(item: NonNullable<FanoutItem["item"]>): void {
    this.#writer.keep(encode(ConnectResponse, { items: [{ item }] }));
  }

  /** The frames of a session up to this one were dealt with. */
  acknowledge(session: number, upSequence: number): void {
    if (this.#acknowledged.size === 0) process.nextTick(() => this.#sendAcknowledged());
    this.#acknowledged.set(session, upSequence);
  }

  /** Everything that was dealt with is said before what follows. */
  flushAcknowledged(): void {
    this.#sendAcknowledged();
  }

  /** The socket gets the channel's events behind `after` from now on. */
  join(member: GroupMember, channel: FollowedChannel, after: StreamPosition | undefined): void {
    let group = this.#groups.get(channel);
    if (group === undefined) {
      group = new LinkGroup({
        link: this,
        number: this.#nextGroup,
        channel,
        counters: this.#options.counters,
      });
      this.#nextGroup += 1;
      this.#groups.set(channel, group);
      channel.audiences.add(group);
    }
    group.join(member, after);
  }

  leave(member: GroupMember, channel: FollowedChannel): void {
    const group = this.#groups.get(channel);
    group?.leave(member);
    if (group?.isEmpty === true) this.#endGroup(group, channel);
  }

  /** The session lives here no more, which its edge knows or is told. */
  forget(member: GroupMember, channel: FollowedChannel): void {
    const group = this.#groups.get(channel);
    group?.forget(member);
    if (group?.isEmpty === true) this.#endGroup(group, channel);
  }

  /** Sends the status unasked: something changed. */
  tellStatus(): void {
    if (this.isOpen) this.#sendStatus(0);
  }

  tick(): void {
    if (!this.#isEnded && this.#options.nowMs() - this.#lastHeardMs > SILENCE_MS) this.destroy("silent");
  }

  end(): void {
    this.#writer.flush();
    this.#options.stream.end();
  }

  destroy(reason: string): void {
    this.#options.stream.destroy(reason);
  }

  #endGroup(group: LinkGroup, channel: FollowedChannel): void {
    this.#groups.delete(channel);
    channel.audiences.delete(group);
  }

  #receive(batch: Uint8Array): void {
    if (this.#isEnded) return;
    this.#lastHeardMs = this.#options.nowMs();
    let items: readonly EdgeItem[];
    try {
      items = ConnectRequest.decode(batch).items;
    } catch (error) {
      this.#options.logger.error({ err: error, edge: this.edgeId }, "an edge sent what is no batch");
      this.destroy("not a batch");
      return;
    }
    for (const { item } of items) if (item !== undefined) this.#apply(item);
    const credit = this.#window.consume(batch.length);
    if (credit > 0) this.#urgent({ $case: "credit", value: { bytes: credit } });
  }

  #apply(item: NonNullable<EdgeItem["item"]>): void {
    if (item.$case === "hello") {
      this.#greet(item.value);
      return;
    }
    if (this.#hello === undefined) {
      this.destroy("the first item must be a hello");
      return;
    }
    const { listener } = this.#options;
    switch (item.$case) {
      case "open":
        listener.open(this, item.value);
        return;
      case "frame":
        listener.frame(this, item.value);
        return;
      case "confirm":
        listener.confirm(this, item.value);
        return;
      case "close":
        listener.close(this, item.value);
        return;
      case "release":
        listener.release(this, item.value.session);
        return;
      case "verified":
        listener.verified(this, item.value);
        return;
      case "credit":
        this.#writer.grant(item.value.bytes);
        return;
      case "status":
        this.#sendStatus(item.value.sequence);
        return;
    }
  }

  #greet(hello: EdgeHello): void {
    if (this.#hello !== undefined) return;
    const protocol = commonProtocol(LINK_PROTOCOL, hello.protocol);
    const { fanoutId, incarnation, version, listener, counters, logger } = this.#options;
    if (protocol === undefined) {
      counters.linksRefused += 1;
      logger.error(
        { edge: hello.edgeId, theirs: hello.protocol, ours: LINK_PROTOCOL },
        "no common link protocol",
      );
      this.destroy("no common link protocol");
      return;
    }
    this.#hello = hello;
    counters.linksAccepted += 1;
    this.#urgent({
      $case: "hello",
      value: { protocol, fanoutId, incarnation, features: [], creditBytes: LINK_WINDOW_BYTES, version },
    });
    this.#writer.grant(hello.creditBytes);
    this.#sendStatus(0);
    listener.greeted(this);
  }

  #sendStatus(sequence: number): void {
    this.#urgent({ $case: "status", value: { ...this.#options.listener.status(), sequence } });
  }

  #sendAcknowledged(): void {
    if (this.#acknowledged.size === 0) return;
    const sessions = [...this.#acknowledged.keys()];
    const upSequences = [...this.#acknowledged.values()];
    this.#acknowledged.clear();
    this.send({ $case: "acknowledge", value: { sessions, upSequences } });
  }

  #ended(reason: string): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#writer.stop();
    for (const [channel, group] of this.#groups) channel.audiences.delete(group);
    this.#groups.clear();
    this.#acknowledged.clear();
    if (this.#hello !== undefined) this.#options.logger.info({ edge: this.edgeId, reason }, "link ended");
    this.#options.listener.ended(this);
  }

  #urgent(item: NonNullable<FanoutItem["item"]>): void {
    this.#writer.urgent(encode(ConnectResponse, { items: [{ item }] }));
  }
}
