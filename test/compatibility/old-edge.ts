/**
 * An edge of the link's first version, made of the pinned contracts and gRPC alone: it introduces itself,
 * stays alive, and keeps everything that the fanout says, in order. What it says is the test's business.
 */
import { Client, credentials, Metadata, type ClientDuplexStream, type StatusObject } from "@grpc/grpc-js";
import { waitFor } from "#test/support/wait-for.js";
import { ClientFrame } from "./link-v1/gen/realtime/client/v1/client_frame.js";
import { ServerFrame } from "./link-v1/gen/realtime/client/v1/server_frame.js";
import type { Principal } from "./link-v1/gen/realtime/link/v1/link.js";
import {
  ConnectRequest,
  EdgeHello,
  Framing,
  LinkServiceService,
  OpenSession,
  UpFrame,
  type ConnectResponse,
  type EdgeItem,
  type FanoutItem,
} from "./link-v1/gen/realtime/link/v1/link.js";

type ItemToFanout = NonNullable<EdgeItem["item"]>;
type ItemToEdge = NonNullable<FanoutItem["item"]>;
type ItemValues = { [Item in ItemToEdge as Item["$case"]]: Item["value"] };
type ClientBody = NonNullable<ClientFrame["body"]>;
type ServerBody = NonNullable<ServerFrame["body"]>;
type BodyValues = { [Body in ServerBody as Body["$case"]]: Body["value"] };

export interface OldEdgeOptions {
  /** `host:port` of a fanout's link. */
  readonly address: string;
  readonly token?: string | undefined;
  /** The versions that it speaks; unless given, the first. */
  readonly protocol?: { readonly min: number; readonly max: number };
}

const STATUS_INTERVAL_MS = 1_000;
const CREDIT_BYTES = 8 * 1024 * 1024;

export class OldEdge {
  readonly items: ItemToEdge[] = [];
  /** How the stream ended. */
  ended: StatusObject | undefined;
  readonly #client: Client;
  readonly #stream: ClientDuplexStream<Uint8Array, ConnectResponse>;
  readonly #alive: NodeJS.Timeout;
  readonly #upSequences = new Map<number, number>();
  #statusSequence = 0;

  constructor({ address, token, protocol = { min: 1, max: 1 } }: OldEdgeOptions) {
    this.#client = new Client(address, credentials.createInsecure(), { "grpc.use_local_subchannel_pool": 1 });
    const metadata = new Metadata();
    if (token !== undefined) metadata.set("authorization", `Bearer ${token}`);
    const { path, responseDeserialize } = LinkServiceService.connect;
    const asIs = (batch: Uint8Array): Buffer => Buffer.from(batch);
    this.#stream = this.#client.makeBidiStreamRequest(path, asIs, responseDeserialize, metadata);
    this.#stream.on("data", ({ items }: ConnectResponse) => {
      for (const { item } of items) if (item !== undefined) this.items.push(item);
    });
    this.#stream.on("error", () => undefined);
    this.#stream.on("status", (status: StatusObject) => (this.ended = status));
    const hello = {
      protocol,
      edgeId: "old-edge",
      incarnation: crypto.randomUUID(),
      creditBytes: CREDIT_BYTES,
    };
    this.send({ $case: "hello", value: EdgeHello.fromPartial({ ...hello, version: "0.1.0" }) });
    this.#alive = setInterval(() => this.#sayAlive(), STATUS_INTERVAL_MS);
  }

  send(item: ItemToFanout): void {
    this.sendBytes(ConnectRequest.encode({ items: [{ item }] }).finish());
  }

  /** A whole batch, as it is. */
  sendBytes(batch: Uint8Array): void {
    this.#stream.write(batch);
  }

  /** A session of a user in protobuf framing; as a new one unless its state is given. */
  openSession(number: number, who: Partial<Principal>, more: Partial<OpenSession> = {}): void {
    this.#upSequences.set(number, more.nextUpSequence ?? 1);
    const value = OpenSession.fromPartial({
      session: number,
      principal: {
        app: "default",
        role: "customer",
        expiresAt: Math.floor(Date.now() / 1000) + 3_600,
        ...who,
      },
      framing: Framing.FRAMING_PROTOBUF,
      connectionId: `connection-${number}`,
      nextUpSequence: 1,
      heartbeatIntervalMs: 25_000,
      namespace: "native",
    });
    this.send({ $case: "open", value: { ...value, ...more } });
  }

  /** Forwards a frame of a session; answers its up-sequence. */
  sendFrame(session: number, body: ClientBody, id = 1): number {
    const upSequence = this.#upSequences.get(session) ?? 1;
    this.#upSequences.set(session, upSequence + 1);
    const payload = ClientFrame.encode(ClientFrame.fromPartial({ id, body } as ClientFrame)).finish();
    const value = UpFrame.fromPartial({ session, upSequence, receivedAtUs: Date.now() * 1_000, payload });
    this.send({ $case: "frame", value });
    return upSequence;
  }

  itemsOf<Case extends keyof ItemValues>(type: Case): ItemValues[Case][] {
    return this.items.filter(({ $case }) => $case === type).map(({ value }) => value as ItemValues[Case]);
  }

  /** Waits for an item of this kind that fits. */
  item<Case extends keyof ItemValues>(
    type: Case,
    fits: (value: ItemValues[Case]) => boolean = () => true,
  ): Promise<ItemValues[Case]> {
    const said = () => this.items.map(({ $case }) => $case).join(", ");
    return first(
      () => this.itemsOf(type).filter(fits),
      () => `a ${type} from the fanout, which said: ${said()}`,
    );
  }

  /** The bodies of the frames that were sent to one session alone. */
  framesTo(session: number): ServerBody[] {
    return this.itemsOf("frame")
      .filter((frame) => frame.session === session)
      .flatMap(({ payload }) => ServerFrame.decode(payload).body ?? []);
  }

  /** Waits for a frame to this session with this body that fits. */
  frameTo<Case extends keyof BodyValues>(
    session: number,
    type: Case,
    fits: (value: BodyValues[Case]) => boolean = () => true,
  ): Promise<BodyValues[Case]> {
    const bodies = () =>
      this.framesTo(session)
        .filter(({ $case }) => $case === type)
        .map(({ value }) => value as BodyValues[Case]);
    return first(
      () => bodies().filter(fits),
      () => `a frame with ${type} for session ${session}`,
    );
  }

  close(): void {
    clearInterval(this.#alive);
    this.#stream.cancel();
    this.#client.close();
  }

  #sayAlive(): void {
    this.#statusSequence += 1;
    this.send({ $case: "status", value: { sequence: this.#statusSequence, connections: 1 } });
  }
}

async function first<Value>(read: () => readonly Value[], what: () => string): Promise<Value> {
  try {
    const found = await waitFor(
      () =>
        read()
          .slice(0, 1)
          .map((value) => ({ value }))[0],
      { what: "it" },
    );
    return found.value;
  } catch (error) {
    throw new Error(`there is not ${what()}`, { cause: error });
  }
}
