/**
 * A group: the sockets of this edge that live on one fanout and follow one channel. It belongs to one
 * link generation and is never used again. An event is framed once and written to each socket.
 */
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { DeliveryClass, Framing, type Deliver } from "#proto/gen/realtime/link/v1/link.js";
import { Opcode, websocketFrame } from "../socket/websocket-frame.js";
import type { SocketWriter } from "../socket/socket-writer.js";
import { nextChange } from "./position-changes.js";

/** A session as its groups see it. */
export interface GroupMember {
  readonly number: number;
  readonly framing: Framing;
  readonly socket: { readonly writer: SocketWriter };
  /** The groups that the socket is in, each with the number of the change that its joining was. */
  readonly groups: Map<Group, number>;
  /** Positions from earlier homes in channels that the present home has not joined yet. */
  readonly carriedPositions: Map<string, Position>;
  /** Whether a latest value is new to the socket. */
  isNewer(channel: string, key: string, version: number): boolean;
}

export class Group {
  readonly #protobuf = new Set<GroupMember>();
  readonly #json = new Set<GroupMember>();
  /** Sockets that were given durable events beyond the group's position: they skip up to there. */
  readonly #ahead = new Map<GroupMember, Position>();
  /** The version of each latest value that was delivered; a channel has few keys. */
  readonly latestVersions = new Map<string, number>();
  #position: Position | undefined;
  #change = 0;

  constructor(
    readonly number: number,
    readonly channel: string,
  ) {}

  get isEmpty(): boolean {
    return this.#protobuf.size === 0 && this.#json.size === 0;
  }

  add(session: GroupMember, after: Position | undefined): void {
    (session.framing === Framing.FRAMING_JSON ? this.#json : this.#protobuf).add(session);
    session.groups.set(this, nextChange());
    session.carriedPositions.delete(this.channel);
    // Also where no event ever was: who joined an empty channel has missed the first one after a move.
    if (after !== undefined && isAhead(after, this.#position)) this.#ahead.set(session, after);
  }

  remove(session: GroupMember): void {
    this.#protobuf.delete(session);
    this.#json.delete(session);
    this.#ahead.delete(session);
  }

  /** The last durable event that the socket was given, or undefined where it was given none. */
  positionOf(session: GroupMember): Position | undefined {
    return this.#ahead.get(session) ?? this.#position;
  }

  /** The number of the last change of the socket's position by a delivery; joining is one of its own. */
  changeFor(session: GroupMember): number {
    return this.#ahead.has(session) ? 0 : this.#change;
  }

  deliver(item: Deliver): void {
    if (item.position !== undefined) {
      this.#position = item.position;
      this.#change = nextChange();
    }
    if (item.conflationKey !== "") this.#noteLatest(item.conflationKey, item.version);
    if (this.#protobuf.size > 0 && item.protobuf.length > 0) {
      this.#write(this.#protobuf, item, websocketFrame(Opcode.BINARY, item.protobuf));
    }
    if (this.#json.size > 0 && item.json.length > 0) {
      this.#write(this.#json, item, websocketFrame(Opcode.TEXT, item.json));
    }
    if (this.#ahead.size > 0 && item.position !== undefined) this.#forgetReached(item.position);
  }

  #noteLatest(key: string, version: number): void {
    this.latestVersions.delete(key); // The order of the keys is that of their last change.
    this.latestVersions.set(key, version);
    if (this.latestVersions.size <= MAX_LATEST_KEYS) return;
    for (const oldest of this.latestVersions.keys()) {
      this.latestVersions.delete(oldest);
      return;
    }
  }

  #write(sessions: ReadonlySet<GroupMember>, item: Deliver, frame: Buffer): void {
    const { excludeSession, deliveryClass } = item;
    if (deliveryClass === DeliveryClass.DELIVERY_CLASS_LATEST) {
      const key = `${this.channel} ${item.conflationKey}`;
      for (const session of sessions) {
        if (session.number === excludeSession) continue;
        if (session.isNewer(this.channel, item.conflationKey, item.version))
          session.socket.writer.writeLatest(key, frame);
      }
      return;
    }
    const isEphemeral = deliveryClass === DeliveryClass.DELIVERY_CLASS_EPHEMERAL;
    for (const session of sessions) {
      if (session.number === excludeSession) continue;
      const { writer } = session.socket;
      if (isEphemeral) writer.writeEphemeral(frame);
      else if (!this.#isAhead(session, item.position)) writer.write(frame);
    }
  }

  #isAhead(session: GroupMember, position: Position | undefined): boolean {
    if (this.#ahead.size === 0 || position === undefined) return false;
    const ahead = this.#ahead.get(session);
    return ahead !== undefined && ahead.epoch === position.epoch && ahead.offset >= position.offset;
  }

  /** Sessions that were given this event, or one of another epoch than theirs, stand where the group stands. */
  #forgetReached(position: Position): void {
    for (const [session, ahead] of this.#ahead) {
      if (ahead.epoch !== position.epoch || !isAhead(ahead, position)) this.#ahead.delete(session);
    }
  }
}

/** Fanouts know as many keys of a channel. */
const MAX_LATEST_KEYS = 1024;

/** Whether a session at `ahead` cannot be said to stand at `position`: positions of other epochs do not compare. */
function isAhead(ahead: Position, position: Position | undefined): boolean {
  return position === undefined || ahead.epoch !== position.epoch || ahead.offset > position.offset;
}
