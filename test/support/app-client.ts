/**
 * An app on a native framing, as tests use it: speaks the protocol over a real WebSocket, remembers every
 * frame, and waits for what a test expects with a time-out that rejects and says what was missing.
 */
import { readFileSync } from "node:fs";
import {
  createFileRegistry,
  fromBinary,
  fromJson,
  toBinary,
  toJson,
  type JsonValue,
} from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import WebSocket from "ws";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { Event } from "#proto/gen/realtime/client/v1/event.js";
import { ServerFrame, type Welcome } from "#proto/gen/realtime/client/v1/server_frame.js";

export type AppFraming = "json" | "protobuf";

export interface AppClientOptions {
  /** `ws://host:port/ws`. */
  readonly url: string;
  readonly framing?: AppFraming;
  /** Sent as `Authorization: Bearer`. */
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as the query of the URL. */
  readonly query?: Readonly<Record<string, string>>;
  /** Announces that the first frame is a `resume`: `welcome` waits for it. */
  readonly resume?: boolean;
  /** For `wss:`: the authority that is believed, in PEM. */
  readonly certificateAuthority?: string;
}

export interface Closed {
  readonly code: number;
  readonly reason: string;
}

type ClientBody = NonNullable<ClientFrame["body"]>;
type ServerBody = NonNullable<ServerFrame["body"]>;
type BodyValues = { [Body in ServerBody as Body["$case"]]: Body["value"] };

const DEFAULT_TIMEOUT_MS = 10_000;

const registry = createFileRegistry(
  fromBinary(
    FileDescriptorSetSchema,
    readFileSync(new URL("../../proto/gen/descriptor.binpb", import.meta.url)),
  ),
);

function schema(name: string) {
  const message = registry.getMessage(name);
  if (message === undefined) throw new Error(`no ${name} in the descriptor`);
  return message;
}

const clientFrameSchema = schema("realtime.client.v1.ClientFrame");
const serverFrameSchema = schema("realtime.client.v1.ServerFrame");

export class AppClient {
  readonly frames: ServerFrame[] = [];
  /** When each frame came, by `performance.now()`. */
  readonly receivedAtMs: number[] = [];
  readonly websocket: WebSocket;
  readonly closed: Promise<Closed>;
  closedWith: Closed | undefined;
  readonly framing: AppFraming;
  readonly #changed = new Set<() => void>();
  #nextId = 1;

  private constructor(options: AppClientOptions) {
    this.framing = options.framing ?? "json";
    const url = new URL(options.url);
    for (const [name, value] of Object.entries(options.query ?? {})) url.searchParams.set(name, value);
    if (options.resume === true) url.searchParams.set("resume", "true");
    const { certificateAuthority } = options;
    this.websocket = new WebSocket(url, `realtime.v1.${this.framing}`, {
      ...(certificateAuthority !== undefined && { ca: certificateAuthority }),
      headers: {
        ...options.headers,
        ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }),
      },
    });
    this.websocket.on("message", (data: Buffer) => {
      this.frames.push(this.#decode(data));
      this.receivedAtMs.push(performance.now());
      this.#notify();
    });
    this.closed = new Promise((resolve) => {
      this.websocket.on("close", (code, reason) => {
        this.closedWith = { code, reason: reason.toString() };
        resolve(this.closedWith);
        this.#notify();
      });
    });
  }

  /** Resolves when the socket is open; rejects with the HTTP answer where the handshake was refused. */
  static async open(options: AppClientOptions): Promise<AppClient> {
    const client = new AppClient(options);
    await new Promise<void>((resolve, reject) => {
      client.websocket.once("open", resolve);
      client.websocket.once("error", reject);
    });
    client.websocket.on("error", () => undefined);
    return client;
  }

  /** Resolves when the session is open. */
  static async connect(options: AppClientOptions): Promise<AppClient> {
    const client = await AppClient.open(options);
    await client.welcome();
    return client;
  }

  async welcome(): Promise<Welcome> {
    const body = await this.body("welcome");
    return body;
  }

  get events(): readonly Event[] {
    return this.frames.flatMap(({ body }) => (body?.$case === "event" ? [body.value] : []));
  }

  /** Events of one kind of body in one channel. */
  eventsOf(channel: string, type?: NonNullable<Event["body"]>["$case"]): readonly Event[] {
    return this.events.filter(
      (event) => event.channel === channel && (type === undefined || event.body?.$case === type),
    );
  }

  /** Sends a frame and returns its id. */
  send(body: ClientBody, frame: Partial<Omit<ClientFrame, "body">> = {}): number {
    const id = frame.id ?? this.#nextId++;
    this.sendRaw(this.encode(ClientFrame.fromPartial({ ...frame, id, body } as ClientFrame)));
    return id;
  }

  encode(frame: ClientFrame): Buffer | string {
    const protobuf = ClientFrame.encode(frame).finish();
    if (this.framing === "protobuf") return Buffer.from(protobuf);
    return JSON.stringify(toJson(clientFrameSchema, fromBinary(clientFrameSchema, protobuf)));
  }

  sendRaw(data: Buffer | string): void {
    this.websocket.send(data);
  }

  /** Sends a frame and waits for its answer, whatever it is. */
  async request(body: ClientBody, frame: Partial<Omit<ClientFrame, "body">> = {}): Promise<ServerBody> {
    const id = this.send(body, frame);
    return this.answer(id);
  }

  async answer(id: number, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<ServerBody> {
    const frame = await this.until(() => this.frames.find(({ replyTo, body }) => replyTo === id && body), {
      what: `an answer to frame ${id}`,
      timeoutMs,
    });
    if (frame.body === undefined) throw new Error("an answer without a body");
    return frame.body;
  }

  /** Subscribes; rejects with the error's message where it is refused. */
  async subscribe(channel: string): Promise<Extract<ServerBody, { $case: "subscribed" }>["value"]> {
    const answer = await this.request({ $case: "subscribe", value: { channel, after: undefined } });
    if (answer.$case === "subscribed") return answer.value;
    throw new Error(`subscribing to ${channel} was answered with ${JSON.stringify(answer)}`);
  }

  /** The first frame with this body. */
  async body<T extends ServerBody["$case"]>(type: T, timeoutMs = DEFAULT_TIMEOUT_MS): Promise<BodyValues[T]> {
    return this.until(() => bodyOf(this.frames, type), { what: `a frame with ${type}`, timeoutMs });
  }

  /** Waits until `read` gives something; it is asked after every frame and when the socket closes. */
  until<T>(read: () => T | undefined, options: { what: string; timeoutMs?: number }): Promise<T> {
    const timeoutMs = options.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    return new Promise((resolve, reject) => {
      const check = (): boolean => {
        const value = read();
        if (value === undefined) return false;
        clearTimeout(timer);
        this.#changed.delete(check);
        resolve(value);
        return true;
      };
      const timer = setTimeout(() => {
        this.#changed.delete(check);
        const state =
          this.closedWith === undefined ? "open" : `closed with ${JSON.stringify(this.closedWith)}`;
        const last = JSON.stringify(this.frames.slice(-3));
        reject(
          new Error(
            `no ${options.what} within ${timeoutMs} ms; the socket is ${state}; last frames: ${last}`,
          ),
        );
      }, timeoutMs);
      this.#changed.add(check);
      check();
    });
  }

  async close(): Promise<void> {
    if (this.closedWith !== undefined) return;
    this.websocket.close(1000);
    await this.closed;
  }

  #decode(data: Buffer): ServerFrame {
    if (this.framing === "protobuf") return ServerFrame.decode(new Uint8Array(data));
    const json = JSON.parse(data.toString()) as JsonValue;
    return ServerFrame.decode(toBinary(serverFrameSchema, fromJson(serverFrameSchema, json)));
  }

  #notify(): void {
    for (const check of [...this.#changed]) check();
  }
}

/** The first body of this type among the frames. */
function bodyOf<T extends ServerBody["$case"]>(
  frames: readonly ServerFrame[],
  type: T,
): BodyValues[T] | undefined {
  const body = frames.find((frame) => frame.body?.$case === type)?.body;
  return body?.value as BodyValues[T] | undefined;
}
