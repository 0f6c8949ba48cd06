/** What a path that speaks WebSocket answers to a plain request, as from a browser's address bar. */
import { json, type HttpRoute } from "./route.js";

export function socketsOnlyRoute(path: string): HttpRoute {
  return {
    path,
    answer: () =>
      json(426, {
        code: "unsupported",
        message: "this path speaks WebSocket: offer realtime.v1.json or realtime.v1.protobuf as subprotocol",
      }),
  };
}
