/**
 * HTTP servers with bounds on headers, time and (where they serve nothing but requests) connections. The
 * edge makes its own out of `createHttpServer` and adds the `upgrade` listener; separate ports use
 * `startHttpServer`.
 */
import { createServer, type Server, type ServerOptions } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo } from "node:net";
import { createRequestHandler, type HandlerLogger, type RequestHandler } from "./request-handler.js";
import type { HttpRoute } from "./route.js";

/** PEM texts. */
export interface HttpTls {
  readonly key: string;
  readonly cert: string;
}

export interface ListenAddress {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** What sets the port: named where it cannot be had. */
  readonly portVariable: string;
}

export interface HttpServerOptions extends ListenAddress {
  readonly routes: readonly HttpRoute[];
  readonly logger: HandlerLogger;
  readonly tls?: HttpTls;
}

export interface RunningHttpServer {
  readonly port: number;
  /** Takes no new connections, ends idle ones, and cuts the others after so long. */
  close(graceMs?: number): Promise<void>;
}

const LIMITS: ServerOptions = {
  // Room for a token of 8 KiB in a header or a query, and what browsers send.
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 15_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 2_000,
};
const MAX_HEADERS = 64;
const MAX_REQUESTS_PER_CONNECTION = 1_000;
/** For ports that only monitors come to. */
const MAX_CONNECTIONS = 256;
const CLOSE_GRACE_MS = 1_000;

/** Not yet listening. These time-outs end at an upgrade: what comes after has its own. */
export function createHttpServer(handler: RequestHandler, tls?: HttpTls): Server {
  const server =
    tls === undefined
      ? createServer(LIMITS, handler)
      : createTlsServer({ ...LIMITS, ...tls, minVersion: "TLSv1.2" }, handler);
  server.maxHeadersCount = MAX_HEADERS;
  server.maxRequestsPerSocket = MAX_REQUESTS_PER_CONNECTION;
  return server;
}

/** Rejects with an error that names the variable and the address where it cannot listen. */
export async function listen(server: Server, { host, port, portVariable }: ListenAddress): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException): void =>
      reject(
        new Error(
          `${isAddressFault(error) ? "HOST" : portVariable}: cannot listen on ${host}:${port}: ${error.message}`,
          { cause: error },
        ),
      );
    server.once("error", failed);
    server.listen({ host, port }, () => {
      server.off("error", failed);
      resolve();
    });
  });
  return portOf(server);
}

export async function startHttpServer(options: HttpServerOptions): Promise<RunningHttpServer> {
  const server = createHttpServer(createRequestHandler(options.routes, options.logger), options.tls);
  server.maxConnections = MAX_CONNECTIONS;
  const port = await listen(server, options);
  return { port, close: (graceMs = CLOSE_GRACE_MS) => closeHttpServer(server, graceMs) };
}

/** Resolves when the server is closed; connections that are busy longer than `graceMs` are cut. */
export async function closeHttpServer(server: Server, graceMs: number = CLOSE_GRACE_MS): Promise<void> {
  if (!server.listening) return;
  const cut = setTimeout(() => server.closeAllConnections(), graceMs);
  await new Promise<void>((resolve) => {
    server.close(() => resolve());
    server.closeIdleConnections();
  });
  clearTimeout(cut);
}

/** Whether it is the address that cannot be had, and no port of it could. */
function isAddressFault({ code }: NodeJS.ErrnoException): boolean {
  return code === "ENOTFOUND" || code === "EAI_AGAIN" || code === "EADDRNOTAVAIL";
}

function portOf(server: Server): number {
  const address: AddressInfo | string | null = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return address.port;
}
