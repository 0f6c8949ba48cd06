/**
 * A link stream over gRPC. Batches are encoded and decoded by the link itself, so the codec here is the
 * identity. Keepalive settings notice a peer that vanished; a frozen one is noticed by the link's status.
 */
import type {
  ClientDuplexStream,
  MethodDefinition,
  ServerDuplexStream,
  ServiceDefinition,
} from "@grpc/grpc-js";
import type { LinkStream, LinkStreamListener } from "./link-stream.js";

const passthrough = (batch: Uint8Array): Buffer =>
  Buffer.isBuffer(batch) ? batch : Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength);

export const LINK_METHOD: MethodDefinition<Uint8Array, Uint8Array> = {
  path: "/realtime.link.v1.LinkService/Connect",
  originalName: "connect",
  requestStream: true,
  responseStream: true,
  requestSerialize: passthrough,
  requestDeserialize: (buffer: Buffer) => buffer,
  responseSerialize: passthrough,
  responseDeserialize: (buffer: Buffer) => buffer,
};

export const LINK_SERVICE: ServiceDefinition<{ connect: (call: never) => void }> = { connect: LINK_METHOD };

/** A batch is at most so large: the largest frame, and room for what surrounds it. */
export const MAX_LINK_MESSAGE_BYTES = 16 * 1024 * 1024;

export const LINK_CHANNEL_OPTIONS = {
  "grpc.keepalive_time_ms": 2000,
  "grpc.keepalive_timeout_ms": 2500,
  "grpc.keepalive_permit_without_calls": 1,
  "grpc.max_receive_message_length": MAX_LINK_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_LINK_MESSAGE_BYTES,
  // Retries keep copies of what was sent, and delay back pressure by as much.
  "grpc.enable_retries": 0,
  "grpc.per_rpc_retry_buffer_size": 1024,
} as const;

type Call = ClientDuplexStream<Uint8Array, Uint8Array> | ServerDuplexStream<Uint8Array, Uint8Array>;

export class GrpcLinkStream implements LinkStream {
  #listener: LinkStreamListener | undefined;
  #isClosed = false;
  #isEnding = false;

  constructor(
    private readonly call: Call,
    private readonly kill: (reason: string) => void,
  ) {
    call.on("data", (batch: Uint8Array) => {
      if (!this.#isClosed) this.#listener?.batch(batch);
    });
    call.on("drain", () => this.#listener?.drained());
    call.on("error", (error: Error) => this.#close(error.message));
    call.on("cancelled", () => this.#close("cancelled"));
    call.on("end", () => {
      // Half a stream is no link: a call that only one side has ended would stay for ever.
      this.end();
      this.#close("ended by the peer");
    });
    call.on("close", () => this.#close("closed"));
  }

  send(batch: Uint8Array): boolean {
    if (this.#isClosed || this.#isEnding) return true;
    return this.call.write(batch);
  }

  listen(listener: LinkStreamListener): void {
    this.#listener = listener;
  }

  end(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    this.call.end();
  }

  destroy(reason: string): void {
    if (this.#isClosed) return;
    // First, so that what the call says of its end is not taken for the reason.
    this.#close(reason);
    this.kill(reason);
  }

  #close(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener?.closed(reason);
  }
}
