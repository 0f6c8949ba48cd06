/** The handshake of a WebSocket client (RFC 6455, section 4), as bytes to send and an answer to collect. */
import { randomBytes } from "node:crypto";
import type { Endpoint } from "../contestant.js";
import type { HandshakeHead } from "./dialect.js";

/** The key only says that the answer is no cached one; nobody asks that it be another each time. */
const KEY = randomBytes(16).toString("base64");

export function handshakeRequest({ host, port }: Endpoint, { path, headers }: HandshakeHead): string {
  const lines = [
    `GET ${path} HTTP/1.1`,
    `Host: ${host}:${port}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${KEY}`,
    ...headers,
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

export interface HandshakeAnswer {
  readonly status: number;
  /** 0 where nothing was said. */
  readonly retryAfterMs: number;
  /** What came behind the head: frames already, or the body of a refusal. */
  readonly rest: Buffer;
}

const HEAD_END = "\r\n\r\n";
const MAX_HEAD_BYTES = 16_384;

/** Collects the answer's head, which may come in pieces. */
export class HandshakeReader {
  #received: Buffer = Buffer.alloc(0);

  /** The answer as soon as its head is whole. @throws where that is not to be expected any more. */
  read(bytes: Buffer): HandshakeAnswer | undefined {
    this.#received = Buffer.concat([this.#received, bytes]);
    const end = this.#received.indexOf(HEAD_END);
    if (end === -1) {
      if (this.#received.length > MAX_HEAD_BYTES) throw new Error("a handshake's answer without an end");
      return undefined;
    }
    const head = this.#received.toString("latin1", 0, end);
    const status = Number(head.split(" ", 2)[1]);
    const retryAfter = /^retry-after: *(\d+)/im.exec(head)?.[1] ?? "0";
    const rest = this.#received.subarray(end + HEAD_END.length);
    return { status, retryAfterMs: Number(retryAfter) * 1000, rest };
  }
}
