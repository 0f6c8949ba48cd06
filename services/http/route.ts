/** What a small HTTP endpoint is: a path that answers GET and HEAD. It reads no body and changes nothing. */
export interface HttpRoute {
  /** Exact, without a query: "/health". */
  readonly path: string;
  /** What it throws is logged and answered with 500. */
  readonly answer: (request: RouteRequest) => HttpAnswer | Promise<HttpAnswer>;
}

export interface RouteRequest {
  readonly query: URLSearchParams;
  /** The `Authorization` header; `undefined` where there is none. */
  readonly authorization: string | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

export function json(status: number, value: object): HttpAnswer {
  return { status, contentType: "application/json; charset=utf-8", body: JSON.stringify(value) };
}

export function text(status: number, body: string, contentType = "text/plain; charset=utf-8"): HttpAnswer {
  return { status, contentType, body };
}
