/**
 * Who may call the API: backend services with a service token or a client certificate. A server with
 * neither is open, and therefore lives on loopback only; anywhere else it refuses to be made.
 * Tokens are compared by digest, in a time that says nothing about them, and are kept nowhere else.
 */
import { createHash, timingSafeEqual } from "node:crypto";
import { ServerCredentials, type Metadata } from "@grpc/grpc-js";

export interface ApiTls {
  /** PEM. */
  readonly key: string | Buffer;
  /** PEM, the server's certificate first, then its chain. */
  readonly cert: string | Buffer;
  /** PEM. Set: only clients with a certificate of this authority get a connection, and need no token. */
  readonly clientCa?: string | Buffer;
}

export interface ApiAccessOptions {
  readonly host: string;
  readonly tls?: ApiTls;
  /** Any of them is accepted: so they can be rotated. */
  readonly serviceTokens: readonly string[];
}

/** What the transport knows of the caller. */
export interface PeerIdentity {
  readonly sslPeerCertificate?: unknown;
}

const LOOPBACK = /^(localhost|::1|\[::1\]|127\.\d{1,3}\.\d{1,3}\.\d{1,3})$/;
const BEARER = /^bearer ([\x21-\x7e]+)$/i;

export class ApiAccess {
  readonly credentials: ServerCredentials;
  readonly #tokenDigests: readonly Buffer[];
  readonly #tls: ApiTls | undefined;

  /** @throws Error that names the variable to set, where the server would be open to others. */
  constructor(options: ApiAccessOptions) {
    for (const token of options.serviceTokens) {
      if (!/^[\x21-\x7e]+$/.test(token)) {
        throw new Error(
          "API_TOKENS: a service token is one or more printable ASCII characters without spaces",
        );
      }
    }
    const isOpen = options.serviceTokens.length === 0 && options.tls?.clientCa === undefined;
    if (isOpen && !LOOPBACK.test(options.host)) {
      throw new Error(
        `API_TOKENS must hold at least one service token (or a client CA be set) to serve the API on ${options.host}; ` +
          "without one it is served on 127.0.0.1 only",
      );
    }
    this.#tokenDigests = options.serviceTokens.map(digestOf);
    this.#tls = options.tls;
    this.credentials = credentialsOf(options.tls);
  }

  /** For the start-up banner and the log. */
  describe(): string {
    const ways = [
      ...(this.#tokenDigests.length > 0 ? ["service token"] : []),
      ...(this.#tls?.clientCa !== undefined ? ["client certificate"] : []),
    ];
    const transport = this.#tls === undefined ? "without TLS" : "over TLS";
    if (ways.length === 0) return `open to loopback only, ${transport}`;
    return `open to callers with a ${ways.join(" or a ")}, ${transport}`;
  }

  admits(metadata: Metadata, peer: PeerIdentity): boolean {
    if (this.#tls?.clientCa !== undefined && peer.sslPeerCertificate !== undefined) return true;
    if (this.#tokenDigests.length === 0) return this.#tls?.clientCa === undefined;
    const given = metadata.get("authorization");
    const [header] = given;
    if (given.length !== 1 || typeof header !== "string") return false;
    const token = BEARER.exec(header)?.[1];
    return token !== undefined && this.#isServiceToken(token);
  }

  #isServiceToken(token: string): boolean {
    const digest = digestOf(token);
    let found = false;
    // No early end: the time must not tell which token it was.
    for (const known of this.#tokenDigests) found = timingSafeEqual(known, digest) || found;
    return found;
  }
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token, "utf8").digest();
}

function credentialsOf(tls: ApiTls | undefined): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const clientCa = tls.clientCa === undefined ? null : Buffer.from(tls.clientCa);
  return ServerCredentials.createSsl(
    clientCa,
    [{ private_key: Buffer.from(tls.key), cert_chain: Buffer.from(tls.cert) }],
    clientCa !== null,
  );
}
