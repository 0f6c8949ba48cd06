/**
 * A TCP connection to an edge with which a test says exactly the bytes that it wants, and reads only when
 * it wants: broken handshakes, broken frames, peers that stop in the middle. It knows just enough of RFC
 * 6455 to shake hands, to mask what it sends, and to take apart what comes back.
 */
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { waitFor } from "./wait-for.js";

export interface HandshakeOptions {
  readonly path?: string;
  /** Absent: `realtime.v1.protobuf`; empty: none is offered. */
  readonly protocol?: string;
  readonly token?: string;
  readonly headers?: Readonly<Record<string, string>>;
}

export interface HttpAnswer {
  readonly status: number;
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/** A frame of the server. */
export interface RawFrame {
  readonly opcode: number;
  readonly payload: Buffer;
}

export interface ClientFrameOptions {
  readonly fin?: boolean;
  /** What the header says, where that is not the truth. */
  readonly claimedBytes?: number;
  readonly masked?: boolean;
  /** Of the first byte, as 0x40 for RSV1. */
  readonly reservedBits?: number;
}

export const RawOpcode = { CONTINUATION: 0, TEXT: 1, BINARY: 2, CLOSE: 8, PING: 9, PONG: 10 } as const;

const HEAD_END = Buffer.from("\r\n\r\n");

export class RawSocket {
  readonly socket: Socket;
  /** Whether the server has ended it. This end stays half open: the harshest of peers. */
  isClosed = false;
  #received: Buffer[] = [];

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (chunk: Buffer) => this.#received.push(chunk));
    socket.on("error", () => undefined);
    for (const event of ["end", "close"]) socket.on(event, () => (this.isClosed = true));
  }

  static async connect(port: number): Promise<RawSocket> {
    const socket = connect({ port, host: "127.0.0.1", allowHalfOpen: true });
    const raw = new RawSocket(socket);
    await once(socket, "connect");
    return raw;
  }

  /** Connects and shakes hands; rejects where the answer is not 101. */
  static async open(port: number, options: HandshakeOptions = {}): Promise<RawSocket> {
    const raw = await RawSocket.connect(port);
    const { status, body } = await raw.handshake(options);
    if (status !== 101) throw new Error(`the handshake was answered with ${status}: ${body}`);
    return raw;
  }

  /** Everything that came and was not taken. */
  get received(): Buffer {
    const all = Buffer.concat(this.#received);
    this.#received = [all];
    return all;
  }

  write(bytes: Buffer | string): void {
    this.socket.write(bytes);
  }

  handshake(options: HandshakeOptions = {}): Promise<HttpAnswer> {
    this.write(handshakeRequest(options));
    return this.answer();
  }

  /** The head of an HTTP answer, and its body where the connection ends after it. */
  async answer(): Promise<HttpAnswer> {
    const end = await waitFor(
      () => {
        const index = this.received.indexOf(HEAD_END);
        return index === -1 ? undefined : index;
      },
      { what: "the head of an HTTP answer", timeoutMs: 15_000 },
    );
    const head = this.received.subarray(0, end).toString("latin1");
    const [statusLine = "", ...lines] = head.split("\r\n");
    const headers = new Map(
      lines.map((line) => {
        const colon = line.indexOf(":");
        return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()] as const;
      }),
    );
    const bodyBytes = Number(headers.get("content-length") ?? 0);
    const bodyStart = end + HEAD_END.length;
    await waitFor(() => this.received.length >= bodyStart + bodyBytes, { what: "the body of the answer" });
    const body = this.received.subarray(bodyStart, bodyStart + bodyBytes).toString();
    this.#received = [this.received.subarray(bodyStart + bodyBytes)];
    return { status: Number(statusLine.split(" ")[1]), headers, body };
  }

  send(opcode: number, payload: Buffer | string, options: ClientFrameOptions = {}): void {
    this.write(clientFrame(opcode, payload, options));
  }

  /** The frames that came whole until now. */
  frames(): RawFrame[] {
    const frames: RawFrame[] = [];
    const bytes = this.received;
    for (let index = 0; index + 2 <= bytes.length;) {
      const opcode = (bytes[index] ?? 0) & 0x0f;
      const short = (bytes[index + 1] ?? 0) & 0x7f;
      const headerBytes = short === 127 ? 10 : short === 126 ? 4 : 2;
      if (index + headerBytes > bytes.length) break;
      let length = short;
      if (short === 126) length = bytes.readUInt16BE(index + 2);
      if (short === 127) length = Number(bytes.readBigUInt64BE(index + 2));
      const start = index + headerBytes;
      if (start + length > bytes.length) break;
      frames.push({ opcode, payload: bytes.subarray(start, start + length) });
      index = start + length;
    }
    return frames;
  }

  /** The code of the close frame that came, or undefined. */
  closeCode(): number | undefined {
    const close = this.frames().find(({ opcode }) => opcode === RawOpcode.CLOSE);
    return close === undefined ? undefined : close.payload.length >= 2 ? close.payload.readUInt16BE(0) : 1005;
  }

  untilCloseCode(timeoutMs = 10_000): Promise<number> {
    return waitFor(() => this.closeCode(), { what: "a close frame", timeoutMs });
  }

  untilClosed(timeoutMs = 10_000): Promise<boolean> {
    return waitFor(() => this.isClosed, { what: "the end of the connection", timeoutMs });
  }

  /** What comes stays in the kernel from now on. */
  stopReading(): void {
    this.socket.pause();
  }

  readOn(): void {
    this.socket.resume();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Ends with a RST, as a network that breaks does. */
  reset(): void {
    this.socket.resetAndDestroy();
  }
}

export function handshakeRequest({ path = "/ws", protocol, token, headers = {} }: HandshakeOptions): string {
  const offered = protocol ?? "realtime.v1.protobuf";
  const lines = [
    `GET ${path} HTTP/1.1`,
    "Host: edge",
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${randomBytes(16).toString("base64")}`,
    ...(offered === "" ? [] : [`Sec-WebSocket-Protocol: ${offered}`]),
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
  ];
  return `${lines.join("\r\n")}\r\n\r\n`;
}

export function clientFrame(opcode: number, data: Buffer | string, options: ClientFrameOptions = {}): Buffer {
  const payload = Buffer.from(data);
  const { fin = true, masked = true, reservedBits = 0 } = options;
  const length = options.claimedBytes ?? payload.length;
  const headerBytes = length < 126 ? 2 : length < 65_536 ? 4 : 10;
  const header = Buffer.alloc(headerBytes);
  header[0] = (fin ? 0x80 : 0) | reservedBits | opcode;
  header[1] = (masked ? 0x80 : 0) | (headerBytes === 2 ? length : headerBytes === 4 ? 126 : 127);
  if (headerBytes === 4) header.writeUInt16BE(length, 2);
  if (headerBytes === 10) header.writeBigUInt64BE(BigInt(length), 2);
  // A mask of zeros is one: the payload stays as it is.
  return Buffer.concat([header, masked ? Buffer.alloc(4) : Buffer.alloc(0), payload]);
}
