/**
 * A way to Redis that loses chosen pub/sub messages: the first one of each marked payload is cut out of what
 * Redis says, as if the network between a sharded channel's publisher and one subscriber had lost it.
 * Everything else goes through as it is.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import type { AddressInfo } from "node:net";

/** How a message to a subscriber begins (RESP2): three parts, the first of them "smessage". */
const HEADER = Buffer.from("*3\r\n$8\r\nsmessage\r\n");
const LINE_END = Buffer.from("\r\n");

export class MessageDropper {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  /** Payloads whose next message is lost. */
  readonly #marked = new Set<string>();
  dropped = 0;

  private constructor(private readonly redis: { readonly host: string; readonly port: number }) {
    this.#server = createServer((client) => this.#accept(client));
  }

  static async before(redisUrl: string): Promise<MessageDropper> {
    const { hostname, port } = new URL(redisUrl);
    const dropper = new MessageDropper({ host: hostname, port: Number(port) });
    await new Promise<void>((resolve) => dropper.#server.listen(0, "127.0.0.1", resolve));
    return dropper;
  }

  get url(): string {
    return `redis://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** The next message that holds this text is lost. */
  drop(text: string): void {
    this.#marked.add(text);
  }

  close(): void {
    this.#server.close();
    for (const socket of this.#sockets) socket.destroy();
  }

  #accept(client: Socket): void {
    const redis = connect(this.redis);
    let held: Buffer = Buffer.alloc(0);
    redis.on("data", (chunk: Buffer) => {
      const { through, rest } = this.#filter(Buffer.concat([held, chunk]));
      held = rest;
      if (through.length > 0) client.write(through);
    });
    client.on("data", (chunk: Buffer) => redis.write(chunk));
    for (const [socket, other] of [[client, redis] as const, [redis, client] as const]) {
      this.#sockets.add(socket);
      socket.on("error", () => undefined);
      socket.on("close", () => {
        this.#sockets.delete(socket);
        other.destroy();
      });
    }
  }

  /** Only an incomplete message at the end is held back; what has no message in it is not looked at. */
  #filter(data: Buffer): { through: Buffer; rest: Buffer } {
    if (this.#marked.size === 0) return { through: data, rest: Buffer.alloc(0) };
    const parts: Buffer[] = [];
    let from = 0;
    for (let at = data.indexOf(HEADER); at >= 0; at = data.indexOf(HEADER, from)) {
      parts.push(data.subarray(from, at));
      const end = messageEnd(data, at);
      if (end === undefined) return { through: Buffer.concat(parts), rest: data.subarray(at) };
      const message = data.subarray(at, end);
      if (!this.#isLost(message)) parts.push(message);
      from = end;
    }
    parts.push(data.subarray(from));
    return { through: Buffer.concat(parts), rest: Buffer.alloc(0) };
  }

  #isLost(message: Buffer): boolean {
    for (const text of this.#marked) {
      if (!message.includes(text)) continue;
      this.#marked.delete(text);
      this.dropped += 1;
      return true;
    }
    return false;
  }
}

/** Behind the two bulk strings that follow the header: the channel and the payload; undefined where they are not all there. */
function messageEnd(data: Buffer, start: number): number | undefined {
  let at = start + HEADER.length;
  for (let part = 0; part < 2; part += 1) {
    const lineEnd = data.indexOf(LINE_END, at);
    if (lineEnd < 0) return undefined;
    const length = Number(data.subarray(at + 1, lineEnd).toString());
    at = lineEnd + LINE_END.length + length + LINE_END.length;
    if (at > data.length) return undefined;
  }
  return at;
}
