/**
 * A fanout of the link's first version, made of the pinned contracts and gRPC alone. It opens sessions,
 * lets everybody follow everything, and publishes what a test gives it; it answers `ping` and `subscribe`,
 * and leaves any other frame unanswered, as a fanout does that is about to die.
 */
import { Server, ServerCredentials, status, type ServerDuplexStream } from "@grpc/grpc-js";
import { freePort } from "#test/support/free-port.js";
import { ClientFrame } from "./link-v1/gen/realtime/client/v1/client_frame.js";
import { Event, type Position } from "./link-v1/gen/realtime/client/v1/event.js";
import { Pong, ServerFrame, Subscribed, Welcome } from "./link-v1/gen/realtime/client/v1/server_frame.js";
import type { ConnectRequest } from "./link-v1/gen/realtime/link/v1/link.js";
import {
  ConnectResponse,
  Deliver,
  DeliveryClass,
  DownFrame,
  FanoutHello,
  FanoutStatus,
  LinkServiceService,
  type EdgeItem,
  type FanoutItem,
  type OpenSession,
  type UpFrame,
} from "./link-v1/gen/realtime/link/v1/link.js";

type ItemToFanout = NonNullable<EdgeItem["item"]>;
type ItemToEdge = NonNullable<FanoutItem["item"]>;
type ItemValues = { [Item in ItemToFanout as Item["$case"]]: Item["value"] };
type ServerBody = NonNullable<ServerFrame["body"]>;
type LinkCall = ServerDuplexStream<ConnectRequest, Uint8Array>;

export interface OldFanoutOptions {
  readonly fanoutId: string;
  /** The version that it chooses; unless given, the first. */
  readonly protocol?: number;
  /** Ends every link with FAILED_PRECONDITION, as a fanout without a common version does. */
  readonly refuses?: boolean;
}

const CREDIT_BYTES = 8 * 1024 * 1024;

export class OldFanout {
  /** Everything that the edge said, in order. */
  readonly items: ItemToFanout[] = [];
  readonly sessions = new Map<number, OpenSession>();
  readonly address: string;
  readonly #options: OldFanoutOptions;
  readonly #server = new Server();
  readonly #groups = new Map<string, number>();
  #call: LinkCall | undefined;

  static async start(options: OldFanoutOptions): Promise<OldFanout> {
    const fanout = new OldFanout(options, await freePort());
    await new Promise<void>((resolve, reject) => {
      const bound = (error: Error | null): void => (error === null ? resolve() : reject(error));
      fanout.#server.bindAsync(fanout.address, ServerCredentials.createInsecure(), bound);
    });
    return fanout;
  }

  private constructor(options: OldFanoutOptions, port: number) {
    this.#options = options;
    this.address = `127.0.0.1:${port}`;
    const asIs = (batch: Uint8Array): Buffer => Buffer.from(batch);
    const method = { ...LinkServiceService.connect, originalName: "connect", responseSerialize: asIs };
    this.#server.addService({ connect: method }, { connect: (call: LinkCall) => this.#connected(call) });
  }

  itemsOf<Case extends keyof ItemValues>(type: Case): ItemValues[Case][] {
    return this.items.filter(({ $case }) => $case === type).map(({ value }) => value as ItemValues[Case]);
  }

  /** The frames of clients, decoded. */
  get frames(): ClientFrame[] {
    return this.itemsOf("frame").map(({ payload }) => ClientFrame.decode(payload));
  }

  send(item: ItemToEdge): void {
    this.sendBytes(ConnectResponse.encode({ items: [{ item }] }).finish());
  }

  /** A whole batch, as it is. */
  sendBytes(batch: Uint8Array): void {
    this.#call?.write(batch);
  }

  /** An order's status for everybody who follows the order here. */
  publishStatus(channel: string, orderStatus: string, position: Position): void {
    this.send({ $case: "deliver", value: this.delivery(channel, orderStatus, position) });
  }

  delivery(channel: string, orderStatus: string, position: Position): Deliver {
    const event = Event.fromPartial({
      id: `event-${position.offset}`,
      channel,
      position,
      body: { $case: "orderStatus", value: { orderId: channel.split(":")[1] ?? "", status: orderStatus } },
    });
    return Deliver.fromPartial({
      group: this.#groups.get(channel) ?? 0,
      deliveryClass: DeliveryClass.DELIVERY_CLASS_DURABLE,
      position,
      protobuf: encodeFrame({ $case: "event", value: event }),
    });
  }

  /** Lets a session follow a channel. */
  join(session: number, channel: string, after: Position | undefined): void {
    const group = this.#groups.get(channel) ?? this.#groups.size + 1;
    this.#groups.set(channel, group);
    this.send({ $case: "join", value: { group, session, channel, after } });
  }

  /** Asks the edge to take every session elsewhere. */
  drain(): void {
    this.send({ $case: "drain", value: { withinMs: 5_000 } });
  }

  /** Ends at once, without a word. */
  kill(): void {
    this.#server.forceShutdown();
  }

  #connected(call: LinkCall): void {
    if (this.#options.refuses === true) {
      call.emit("error", { code: status.FAILED_PRECONDITION, details: "no common link protocol" });
      return;
    }
    this.#call = call;
    call.on("data", ({ items }: ConnectRequest) => {
      for (const { item } of items) if (item !== undefined) this.#apply(item);
    });
    call.on("error", () => undefined);
    call.on("end", () => call.end());
  }

  #apply(item: ItemToFanout): void {
    this.items.push(item);
    switch (item.$case) {
      case "hello":
        this.#greet();
        return;
      case "open":
        this.#open(item.value);
        return;
      case "frame":
        this.#frame(item.value);
        return;
      case "release": {
        const { session } = item.value;
        this.sessions.delete(session);
        this.send({ $case: "released", value: { session, state: this.#stateOf(session) } });
        return;
      }
      case "close":
        this.sessions.delete(item.value.session);
        return;
      case "status":
        this.#sayStatus(item.value.sequence);
        return;
      case "credit":
        return;
    }
  }

  #greet(): void {
    const { fanoutId, protocol = 1 } = this.#options;
    const value = { protocol, fanoutId, incarnation: crypto.randomUUID(), creditBytes: CREDIT_BYTES };
    this.send({ $case: "hello", value: FanoutHello.fromPartial({ ...value, version: "0.1.0" }) });
    this.#sayStatus(0);
  }

  #sayStatus(sequence: number): void {
    const value = {
      sequence,
      sessions: this.sessions.size,
      accepting: true,
      storeTimeUs: Date.now() * 1_000,
    };
    this.send({ $case: "status", value: FanoutStatus.fromPartial(value) });
  }

  #open(open: OpenSession): void {
    this.sessions.set(open.session, open);
    if (open.state.length > 0) return;
    const { userId = "", role = "" } = open.principal ?? {};
    const welcome = { connectionId: open.connectionId, sessionId: "s1", userId, role, serverId: "old" };
    this.#down(open.session, { $case: "welcome", value: Welcome.fromPartial(welcome) }, open.replyTo);
    this.send({ $case: "state", value: { session: open.session, state: this.#stateOf(open.session) } });
  }

  #frame({ session, upSequence, payload }: UpFrame): void {
    const { id, body } = ClientFrame.decode(payload);
    if (body?.$case === "ping") {
      this.#down(session, { $case: "pong", value: Pong.fromPartial({}) }, id);
    } else if (body?.$case === "subscribe") {
      const { channel } = body.value;
      const position = { epoch: "e1", offset: 0, tag: 0 };
      this.#down(session, { $case: "subscribed", value: Subscribed.fromPartial({ channel, position }) }, id);
      this.join(session, channel, position);
    } else return;
    this.send({ $case: "acknowledge", value: { sessions: [session], upSequences: [upSequence] } });
  }

  #down(session: number, body: ServerBody, replyTo: number): void {
    const payload = encodeFrame(body, replyTo);
    const deliveryClass = DeliveryClass.DELIVERY_CLASS_DURABLE;
    this.send({ $case: "frame", value: DownFrame.fromPartial({ session, payload, deliveryClass }) });
  }

  #stateOf(session: number): Uint8Array {
    return Buffer.from(`state of session ${session} from ${this.#options.fanoutId}`);
  }
}

function encodeFrame(body: ServerBody, replyTo = 0): Uint8Array {
  return ServerFrame.encode({ replyTo, body }).finish();
}
