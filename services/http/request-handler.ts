/**
 * Answers HTTP requests by a table of routes: for an HTTP server of its own, or for the one that also
 * carries the WebSocket upgrades. Everything else gets an error in JSON; none says what was thrown.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { json, type HttpAnswer, type HttpRoute } from "./route.js";

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

export interface HandlerLogger {
  error(fields: object, message: string): void;
}

const ALLOWED = "GET, HEAD";

export function createRequestHandler(routes: readonly HttpRoute[], logger: HandlerLogger): RequestHandler {
  const byPath = new Map(routes.map((route) => [route.path, route]));
  if (byPath.size !== routes.length) throw new Error("two routes have the same path");
  return (request, response) => {
    const { path, query } = splitTarget(request.url ?? "/");
    const route = byPath.get(path);
    const { authorization } = request.headers;
    answer(request, route, { query: new URLSearchParams(query), authorization })
      .catch((error: unknown) => {
        logger.error({ path: route?.path, error }, "an http request failed");
        return failure(500, "internal", "an internal error");
      })
      .then((result) => write(request, response, result))
      .catch((error: unknown) => logger.error({ error }, "an http answer could not be written"));
  };
}

async function answer(
  request: IncomingMessage,
  route: HttpRoute | undefined,
  input: Parameters<HttpRoute["answer"]>[0],
): Promise<HttpAnswer> {
  if (route === undefined) return failure(404, "not_found", "there is nothing at this path");
  if (request.method !== "GET" && request.method !== "HEAD") {
    return failure(405, "unsupported", `this path takes ${ALLOWED}`);
  }
  return route.answer(input);
}

function write(request: IncomingMessage, response: ServerResponse, result: HttpAnswer): void {
  const bytes = Buffer.from(result.body, "utf8");
  response.writeHead(result.status, {
    "Content-Type": result.contentType,
    "Content-Length": bytes.byteLength,
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    ...(result.status === 405 && { Allow: ALLOWED }),
    // A body that nobody reads shall not be waited for.
    ...(hasBody(request) && { Connection: "close" }),
    ...(result.status === 426 && { Upgrade: "websocket", Connection: "Upgrade" }),
  });
  response.end(request.method === "HEAD" ? undefined : bytes);
}

function hasBody({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? 0) > 0;
}

function splitTarget(target: string): { path: string; query: string } {
  const question = target.indexOf("?");
  if (question === -1) return { path: target, query: "" };
  return { path: target.slice(0, question), query: target.slice(question + 1) };
}

function failure(status: number, code: string, message: string): HttpAnswer {
  return json(status, { code, message });
}
