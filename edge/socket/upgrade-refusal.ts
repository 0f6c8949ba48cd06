/** Refuses a WebSocket handshake with an HTTP answer that says why, and when to try again. */
import { STATUS_CODES } from "node:http";
import type { Duplex } from "node:stream";

export interface UpgradeRefusal {
  readonly status: number;
  readonly code: string;
  readonly message: string;
  readonly retryAfterMs?: number;
}

export function refuseUpgrade(socket: Duplex, refusal: UpgradeRefusal): void {
  const body = JSON.stringify({
    code: refusal.code,
    message: refusal.message,
    ...(refusal.retryAfterMs !== undefined && { retryAfterMs: refusal.retryAfterMs }),
  });
  const lines = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status] ?? ""}`,
    "Connection: close",
    "Content-Type: application/json",
    `Content-Length: ${Buffer.byteLength(body)}`,
  ];
  if (refusal.retryAfterMs !== undefined)
    lines.push(`Retry-After: ${Math.ceil(refusal.retryAfterMs / 1000)}`);
  socket.on("error", () => socket.destroy());
  // Nobody reads this socket any more: without this one whose peer stays silent would stay for ever.
  socket.once("finish", () => socket.destroy());
  socket.end(`${lines.join("\r\n")}\r\n\r\n${body}`);
}
