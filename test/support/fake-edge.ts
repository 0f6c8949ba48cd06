/**
 * An edge as a fanout sees it: the other end of a link stream, speaking the real link protocol. It keeps
 * sessions and groups as an edge does, so that a test can ask what a socket was given, in which order.
 */
import type { LinkStream, LinkStreamListener } from "#proto/link/link-stream.js";
import { LINK_PROTOCOL } from "#proto/link/protocol-version.js";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import {
  ConnectRequest,
  ConnectResponse,
  DeliveryClass,
  EdgeHello,
  Framing,
  OpenSession,
  type Principal,
  type Deliver,
  type EdgeItem,
  type FanoutItem,
} from "#proto/gen/realtime/link/v1/link.js";

type ItemToFanout = NonNullable<EdgeItem["item"]>;
type ItemToEdge = NonNullable<FanoutItem["item"]>;
type ItemValues = { [Item in ItemToEdge as Item["$case"]]: Item["value"] };
type ClientBody = NonNullable<ClientFrame["body"]>;

interface Socket {
  readonly frames: ServerFrame[];
  nextUpSequence: number;
}

interface Group {
  readonly members: Map<number, Position | undefined>;
}

export class FakeEdge implements LinkStream {
  /** Everything the fanout said, in order. */
  readonly items: ItemToEdge[] = [];
  readonly batches: Uint8Array[] = [];
  endedWith: string | undefined;
  isFull = false;
  /** When the edge reads a frame: before every welcome, unless the test says otherwise. */
  readAtUs = (upSequence: number): number => upSequence;
  #listener: LinkStreamListener | undefined;
  readonly #sockets = new Map<number, Socket>();
  readonly #groups = new Map<number, Group>();

  send(batch: Uint8Array): boolean {
    this.batches.push(batch);
    for (const { item } of ConnectResponse.decode(batch).items) if (item !== undefined) this.#apply(item);
    return !this.isFull;
  }

  listen(listener: LinkStreamListener): void {
    this.#listener = listener;
  }

  end(): void {
    this.destroy("ended");
  }

  destroy(reason: string): void {
    if (this.endedWith !== undefined) return;
    this.endedWith = reason;
    this.#listener?.closed(reason);
  }

  /** Sends items as one batch. */
  say(...items: readonly ItemToFanout[]): void {
    this.sayBytes(ConnectRequest.encode({ items: items.map((item) => ({ item })) }).finish());
  }

  sayBytes(batch: Uint8Array): void {
    this.#listener?.batch(batch);
  }

  greet(hello: Partial<EdgeHello> = {}): this {
    const value = EdgeHello.fromPartial({
      protocol: LINK_PROTOCOL,
      edgeId: "edge-1",
      incarnation: "incarnation-1",
      creditBytes: 1 << 20,
      ...hello,
    });
    this.say({ $case: "hello", value });
    return this;
  }

  /** A socket of a user, in protobuf framing unless the test wants another. */
  open(session: number, principal: { userId: string } & Partial<Principal>, more: Partial<OpenSession> = {}) {
    this.#sockets.set(session, { frames: [], nextUpSequence: more.nextUpSequence ?? 1 });
    const value: OpenSession = {
      ...OpenSession.fromPartial({}),
      session,
      framing: Framing.FRAMING_PROTOBUF,
      connectionId: `connection-${session}`,
      namespace: "native",
      nextUpSequence: 1,
      ...more,
      principal: {
        app: "default",
        role: "customer",
        tokenId: "",
        issuedAt: 0,
        expiresAt: 0,
        claimsJson: "",
        ...principal,
      },
    };
    this.say({ $case: "open", value });
  }

  request(session: number, body: ClientBody, frame: Partial<Omit<ClientFrame, "body">> = {}): void {
    const socket = this.#socket(session);
    const upSequence = socket.nextUpSequence;
    socket.nextUpSequence += 1;
    const payload = ClientFrame.encode({ ...EMPTY_FRAME, id: upSequence, ...frame, body }).finish();
    this.say({
      $case: "frame",
      value: { ...EMPTY_UP, session, upSequence, receivedAtUs: this.readAtUs(upSequence), payload },
    });
  }

  subscribe(session: number, channel: string, after?: Position): void {
    this.request(session, { $case: "subscribe", value: { channel, after } });
  }

  /** What the socket was given. */
  framesOf(session: number): readonly ServerFrame[] {
    return this.#socket(session).frames;
  }

  /** What the socket was given, one word each: "welcome", "subscribed order:42", "orderStatus 3", … */
  heard(session: number): readonly string[] {
    return this.#socket(session).frames.map(describeFrame);
  }

  itemsOf<Case extends ItemToEdge["$case"]>(type: Case): ItemValues[Case][] {
    return this.items.flatMap(({ $case, value }) => ($case === type ? [value as ItemValues[Case]] : []));
  }

  #apply(item: ItemToEdge): void {
    this.items.push(item);
    switch (item.$case) {
      case "frame":
        this.#sockets.get(item.value.session)?.frames.push(ServerFrame.decode(item.value.payload));
        return;
      case "join": {
        const { group, session, after } = item.value;
        const known = this.#groups.get(group) ?? { members: new Map<number, Position | undefined>() };
        this.#groups.set(group, known);
        known.members.set(session, after);
        return;
      }
      case "leave":
        this.#groups.get(item.value.group)?.members.delete(item.value.session);
        return;
      case "deliver":
        this.#deliver(item.value);
        return;
      default:
        return;
    }
  }

  #deliver(deliver: Deliver): void {
    for (const [session, after] of this.#groups.get(deliver.group)?.members ?? []) {
      if (session === deliver.excludeSession) continue;
      const { position } = deliver;
      const isDurable = deliver.deliveryClass === DeliveryClass.DELIVERY_CLASS_DURABLE;
      if (isDurable && position?.epoch === after?.epoch && (position?.offset ?? 0) <= (after?.offset ?? 0))
        continue;
      this.#sockets.get(session)?.frames.push(ServerFrame.decode(deliver.protobuf));
    }
  }

  #socket(session: number): Socket {
    const socket = this.#sockets.get(session);
    if (socket === undefined) throw new Error(`there is no session ${session}`);
    return socket;
  }
}

const EMPTY_FRAME = ClientFrame.fromPartial({});
const EMPTY_UP = { deadlineUs: 0 };

function describeFrame({ body }: ServerFrame): string {
  switch (body?.$case) {
    case "subscribed":
    case "unsubscribed":
      return `${body.$case} ${body.value.channel}`;
    case "error":
      return `error ${body.value.code}`;
    case "event": {
      const { value } = body;
      const what =
        value.body?.$case === "location" ? value.body.value.latitude : (value.position?.offset ?? "");
      return `${value.body?.$case ?? "no body"} ${what}`;
    }
    default:
      return body?.$case ?? "nothing";
  }
}
