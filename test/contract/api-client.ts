/**
 * A backend service as one would be written elsewhere: it knows the .proto files alone, read by
 * `@grpc/proto-loader`, and shares no code with the gateway. What it sends and reads is plain objects
 * with the names of the .proto files.
 */
import { fileURLToPath } from "node:url";
import {
  Client,
  Metadata,
  type CallOptions,
  type ChannelCredentials,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  loadSync,
  type AnyDefinition,
  type MessageTypeDefinition,
  type MethodDefinition,
  type PackageDefinition,
} from "@grpc/proto-loader";
import { protoPath as healthProto } from "grpc-health-check";
import { ApiStream, type StreamedAnswer } from "./api-stream.js";

const PROTO_ROOT = fileURLToPath(new URL("../../proto", import.meta.url));

const contract: PackageDefinition = loadSync(
  [
    "realtime/api/v1/api.proto",
    "realtime/api/v1/chat.proto",
    "realtime/api/v1/notifications.proto",
    "realtime/api/v1/offers.proto",
    "realtime/api/v1/locations.proto",
    "realtime/api/v1/presence.proto",
    "realtime/api/v1/revocation.proto",
    "realtime/client/v1/errors.proto",
    healthProto,
  ],
  { includeDirs: [PROTO_ROOT], keepCase: true, longs: Number, enums: String, defaults: true, oneofs: true },
);

export type Json = Readonly<Record<string, unknown>>;

export interface CallSettings {
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

export interface Answer {
  readonly response: Record<string, unknown>;
  /** The headers that came before the message. */
  readonly headers: Metadata;
}

/** A call that failed, with the gateway's own error where it sent one. */
export class CallFailed extends Error {
  override readonly name = "CallFailed";
  constructor(
    readonly code: number,
    readonly details: string,
    readonly trailers: Metadata,
    /** `realtime.client.v1.Error` as read by proto-loader. */
    readonly error: object | undefined,
  ) {
    super(`${code}: ${details}`);
  }
}

/** The failure of a call that must fail. */
export async function failed(call: Promise<unknown>): Promise<CallFailed> {
  try {
    await call;
  } catch (error) {
    if (error instanceof CallFailed) return error;
    throw error;
  }
  throw new Error("the call should have failed");
}

export class ApiClient {
  readonly #client: Client;
  readonly #token: string | undefined;

  constructor(options: { address: string; credentials: ChannelCredentials; token?: string }) {
    // Own connections: a test must not meet the connection of another one.
    this.#client = new Client(options.address, options.credentials, { "grpc.use_local_subchannel_pool": 1 });
    this.#token = options.token;
  }

  publish(items: readonly Json[], settings?: CallSettings): Promise<Answer> {
    return this.call("PublishService", "Publish", { items }, settings);
  }

  call(service: string, name: string, message: Json, settings: CallSettings = {}): Promise<Answer> {
    const method = methodOf(`realtime.api.v1.${service}`, name);
    return this.send(method.path, method.requestSerialize(message), settings, method.responseDeserialize);
  }

  /** `PublishService.PublishStream`. The call lasts until it ends, unless a time-out is given. */
  publishStream(settings: CallSettings = {}): ApiStream {
    const method = methodOf("realtime.api.v1.PublishService", "PublishStream");
    const { timeoutMs } = settings;
    const call = this.#client.makeBidiStreamRequest<Json | Buffer, StreamedAnswer>(
      method.path,
      // Bytes go as they are: what no library would encode.
      (message) => (Buffer.isBuffer(message) ? message : method.requestSerialize(message)),
      (bytes) => method.responseDeserialize(bytes) as StreamedAnswer,
      this.#metadata(settings),
      timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs },
    );
    return new ApiStream(call, failureOf);
  }

  /** Without a token, as a load balancer asks. */
  async health(service = ""): Promise<unknown> {
    const method = methodOf("grpc.health.v1.Health", "Check");
    const bytes = method.requestSerialize({ service });
    const { response } = await this.send(method.path, bytes, { token: "" }, method.responseDeserialize);
    return response["status"];
  }

  /** Sends any bytes. */
  send(
    path: string,
    bytes: Buffer,
    settings: CallSettings,
    read: (bytes: Buffer) => object = () => ({}),
  ): Promise<Answer> {
    const metadata = this.#metadata(settings);
    const options: CallOptions = { deadline: Date.now() + (settings.timeoutMs ?? 10_000) };
    return new Promise((resolve, reject) => {
      let headers = new Metadata();
      const call = this.#client.makeUnaryRequest<Buffer, object>(
        path,
        (message) => message,
        read,
        bytes,
        metadata,
        options,
        (error: ServiceError | null, response?: object) => {
          if (error !== null) reject(failureOf(error));
          else resolve({ response: { ...response }, headers });
        },
      );
      call.on("metadata", (received: Metadata) => {
        headers = received;
      });
    });
  }

  close(): void {
    this.#client.close();
  }

  #metadata(settings: CallSettings): Metadata {
    const metadata = new Metadata();
    const token = settings.token ?? this.#token ?? "";
    if (token !== "") metadata.set("authorization", `Bearer ${token}`);
    for (const [name, value] of Object.entries(settings.headers ?? {})) metadata.set(name, value);
    return metadata;
  }
}

function failureOf(error: Pick<ServiceError, "code" | "details" | "metadata">): CallFailed {
  const [bytes] = error.metadata.get("realtime-error-bin");
  const definition = contract["realtime.client.v1.Error"];
  const read = definition !== undefined && isMessage(definition) ? definition.deserialize : undefined;
  const message = Buffer.isBuffer(bytes) ? read?.(bytes) : undefined;
  return new CallFailed(error.code, error.details, error.metadata, message);
}

function isMessage(definition: AnyDefinition): definition is MessageTypeDefinition<object, object> {
  return definition["format"] === "Protocol Buffer 3 DescriptorProto";
}

function methodOf(service: string, name: string): MethodDefinition<object, object> {
  const definition = contract[service];
  const method = definition !== undefined && !("format" in definition) ? definition[name] : undefined;
  if (method === undefined) throw new Error(`the contract has no ${service}/${name}`);
  return method;
}
