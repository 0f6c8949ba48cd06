/**
 * Serves the link to edges over gRPC. Outside loopback an edge must show the link token, or a client
 * certificate where TLS asks for one.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { Metadata, Server, ServerCredentials, status, type ServerDuplexStream } from "@grpc/grpc-js";
import { GrpcLinkStream, LINK_CHANNEL_OPTIONS, LINK_SERVICE } from "#proto/link/grpc-link-stream.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";

/** PEM texts. */
export interface LinkTls {
  readonly key: string;
  readonly cert: string;
  /** Edges must show a certificate of this authority. */
  readonly clientCa?: string;
}

export interface LinkServerOptions {
  readonly host: string;
  readonly port: number;
  readonly token: string | undefined;
  readonly tls: LinkTls | undefined;
  readonly accept: (stream: LinkStream) => void;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
}

const LOOPBACK = new Set(["127.0.0.1", "::1", "localhost"]);

export class LinkServer {
  readonly #options: LinkServerOptions;
  readonly #server = new Server(LINK_CHANNEL_OPTIONS);

  /** @throws Error naming LINK_TOKEN where the link would be open to the network. */
  constructor(options: LinkServerOptions) {
    this.#options = options;
    if (options.token === undefined && options.tls?.clientCa === undefined && !LOOPBACK.has(options.host)) {
      throw new Error("the link is open beyond loopback: set LINK_TOKEN, or TLS with a client CA");
    }
    this.#server.addService(LINK_SERVICE, {
      connect: (call: ServerDuplexStream<Uint8Array, Uint8Array>) => this.#connect(call),
    });
  }

  async start(): Promise<{ port: number }> {
    const { host, port, tls } = this.#options;
    const credentials =
      tls === undefined
        ? ServerCredentials.createInsecure()
        : ServerCredentials.createSsl(
            tls.clientCa === undefined ? null : Buffer.from(tls.clientCa),
            [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }],
            tls.clientCa !== undefined,
          );
    const address = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
    const bound = await new Promise<number>((resolve, reject) => {
      this.#server.bindAsync(address, credentials, (error, boundPort) => {
        if (error === null) resolve(boundPort);
        else reject(new Error(`LINK_PORT: cannot listen on ${address}: ${error.message}`, { cause: error }));
      });
    });
    return { port: bound };
  }

  /** Streams must have ended before; what is left is cut. */
  stop(): void {
    this.#server.forceShutdown();
  }

  #connect(call: ServerDuplexStream<Uint8Array, Uint8Array>): void {
    const { token, accept, counters, logger } = this.#options;
    if (token !== undefined && !isToken(call.metadata, token)) {
      counters.linksRefused += 1;
      logger.warn({ peer: call.getPeer() }, "an edge without the right link token was refused");
      call.emit("error", { code: status.UNAUTHENTICATED, details: "the link token is missing or wrong" });
      return;
    }
    const stream = new GrpcLinkStream(call, (reason) =>
      call.emit("error", { code: status.FAILED_PRECONDITION, details: reason }),
    );
    call.sendMetadata(new Metadata());
    accept(stream);
  }
}

function isToken(metadata: Metadata, token: string): boolean {
  const [value] = metadata.get("authorization");
  const digest = (text: string): Buffer => createHash("sha256").update(text).digest();
  return typeof value === "string" && timingSafeEqual(digest(value), digest(`Bearer ${token}`));
}
