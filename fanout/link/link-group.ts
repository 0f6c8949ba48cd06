/**
 * A group as the fanout sees it: the sockets of one edge that follow one channel. An event goes to the
 * edge once, in the framings that the group has.
 */
import { encodeServerFrame } from "#proto/frame-codec.js";
import type { BatchWriter } from "#proto/link/batch-writer.js";
import { DeliveryClass, DownFrame, Framing, type FanoutItem } from "#proto/gen/realtime/link/v1/link.js";
import type { StreamPosition } from "#fanout/channel/broker.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import type { ChannelAudience, ChannelDelivery, FollowedChannel } from "#fanout/channel/followed-channel.js";
import { countOne, type FanoutCounters } from "../fanout-counters.js";
import { deliverItem, encodeDelivery } from "./deliver-item.js";

/** What a group needs of the link that it belongs to. */
export interface GroupLink {
  readonly writer: BatchWriter;
  send(item: NonNullable<FanoutItem["item"]>): void;
}

export interface GroupMember {
  readonly number: number;
  readonly connectionId: string;
  readonly framing: Framing;
  /** How often it may send locations, as `subscribed` says it. */
  readonly minSendIntervalMs: number;
}

const WITH_PROTOBUF = 1;
const WITH_JSON = 2;
const EMPTY = new Uint8Array(0);

export class LinkGroup implements ChannelAudience {
  readonly #members = new Map<GroupMember, number>();
  readonly #counts = new Map<number, number>();
  /** A value that came after somebody joined must not take the queue's place of one from before: they would miss it. */
  #joins = 0;
  readonly #options: {
    readonly link: GroupLink;
    readonly number: number;
    readonly channel: FollowedChannel;
    readonly counters: FanoutCounters;
  };

  constructor(options: {
    link: GroupLink;
    number: number;
    channel: FollowedChannel;
    counters: FanoutCounters;
  }) {
    this.#options = options;
  }

  get isEmpty(): boolean {
    return this.#members.size === 0;
  }

  join(member: GroupMember, after: StreamPosition | undefined): void {
    const { link, number, channel } = this.#options;
    const framing = member.framing === Framing.FRAMING_JSON ? WITH_JSON : WITH_PROTOBUF;
    this.#members.set(member, framing);
    this.#joins += 1;
    this.#counts.set(framing, (this.#counts.get(framing) ?? 0) + 1);
    link.send({
      $case: "join",
      value: {
        group: number,
        session: member.number,
        channel: channel.channel.name,
        after: after && toPosition(after),
      },
    });
  }

  leave(member: GroupMember): void {
    if (!this.forget(member)) return;
    const { link, number } = this.#options;
    link.send({ $case: "leave", value: { group: number, session: member.number } });
  }

  /** Leaves without a word: the edge forgets the session with all its groups, and notes where it stood in them. */
  forget(member: GroupMember): boolean {
    const framing = this.#members.get(member);
    if (framing === undefined) return false;
    this.#members.delete(member);
    this.#counts.set(framing, (this.#counts.get(framing) ?? 1) - 1);
    return true;
  }

  deliver(delivery: ChannelDelivery): void {
    const { link, number, counters } = this.#options;
    const { kind } = delivery;
    countOne(counters.eventsSent, delivery.frames.bodyName);
    if (kind.class === "ephemeral") {
      link.writer.ephemeral(deliverItem(number, this.#encode(delivery, this.#sessionOf(kind.origin))));
      return;
    }
    const item = deliverItem(number, this.#encodeOnce(delivery));
    if (kind.class === "latest") link.writer.latest(`${number} ${this.#joins} ${kind.key}`, item);
    else link.writer.keep(item);
  }

  missed(position: StreamPosition): void {
    const { link, channel } = this.#options;
    const lost = {
      channel: channel.channel.name,
      position: toPosition(position),
      recovered: false,
      latest: [],
    };
    const payloads = new Map<string, Uint8Array>();
    for (const { framing, minSendIntervalMs, number: session } of this.#members.keys()) {
      const key = `${framing} ${minSendIntervalMs}`;
      const value = { ...lost, minSendIntervalMs };
      const payload =
        payloads.get(key) ?? encodeServerFrame(framing, { replyTo: 0, body: { $case: "subscribed", value } });
      payloads.set(key, payload);
      const deliveryClass = DeliveryClass.DELIVERY_CLASS_DURABLE;
      link.send({ $case: "frame", value: DownFrame.fromPartial({ session, payload, deliveryClass }) });
    }
  }

  #framings(): number {
    const hasProtobuf = (this.#counts.get(WITH_PROTOBUF) ?? 0) > 0;
    const hasJson = (this.#counts.get(WITH_JSON) ?? 0) > 0;
    return (hasProtobuf ? WITH_PROTOBUF : 0) | (hasJson ? WITH_JSON : 0);
  }

  #encodeOnce(delivery: ChannelDelivery): Uint8Array {
    const { deliveries } = delivery.frames;
    return (deliveries[this.#framings()] ??= this.#encode(delivery, 0));
  }

  #encode({ frames, kind }: ChannelDelivery, excludeSession: number): Uint8Array {
    const framings = this.#framings();
    return encodeDelivery({
      deliveryClass: DELIVERY_CLASSES[kind.class],
      conflationKey: kind.class === "latest" ? kind.key : "",
      position: kind.class === "durable" ? toPosition(kind.position) : undefined,
      excludeSession,
      protobuf: (framings & WITH_PROTOBUF) === 0 ? EMPTY : frames.protobuf,
      json: (framings & WITH_JSON) === 0 ? EMPTY : frames.json,
      version: kind.class === "latest" ? kind.version : 0,
    });
  }

  #sessionOf(connectionId: string): number {
    if (connectionId === "") return 0;
    for (const member of this.#members.keys()) if (member.connectionId === connectionId) return member.number;
    return 0;
  }
}

const DELIVERY_CLASSES = {
  durable: DeliveryClass.DELIVERY_CLASS_DURABLE,
  latest: DeliveryClass.DELIVERY_CLASS_LATEST,
  ephemeral: DeliveryClass.DELIVERY_CLASS_EPHEMERAL,
} as const;
