/**
 * A `ws` WebSocket as a connection sees it, without a network: what the peer does is emitted by the test,
 * what the connection asks for is noted. Like the real one it goes on emitting what it had read already
 * after it was paused, and refuses codes and reasons that must not be sent.
 */
import { EventEmitter } from "node:events";
import type WebSocket from "ws";

export class FakeWebSocket extends EventEmitter {
  isPaused = false;
  terminated = 0;
  closedWith: { code: number; reason: string } | undefined;

  /** The boundary between the fake and the type of the real one. */
  asWebSocket(): WebSocket {
    return this as unknown as WebSocket;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
  }

  close(code: number, reason: string): void {
    if (code < 1000 || code > 4999 || (code > 1014 && code < 3000)) throw new TypeError("not a close code");
    if (Buffer.byteLength(reason) > 123) throw new RangeError("the reason is too long");
    this.closedWith ??= { code, reason };
  }

  terminate(): void {
    this.terminated += 1;
  }

  /** A message of the peer. */
  receive(data: Buffer | string, isBinary = typeof data !== "string"): void {
    this.emit("message", Buffer.from(data), isBinary);
  }

  /** The socket is gone. */
  gone(): void {
    this.emit("close", 1006, Buffer.alloc(0));
  }
}
