/**
 * A TCP proxy on a free port of loopback, for faults of the network: connections cut or refused, bytes that
 * stop while the connections stay open, latency each way, bytes that arrive in small pieces. Bytes are never
 * lost, changed or reordered while a connection lives. What it holds back is bounded: then it reads no more.
 */
import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { freePort } from "./free-port.js";

export interface ProxyTarget {
  readonly port: number;
  readonly host?: string;
}

export interface SliceOptions {
  /** A piece has from 1 up to so many bytes. */
  readonly maxBytes: number;
  /** 0 up to 1, as `Math.random`; seeded where a test must be repeatable. */
  readonly random: () => number;
}

interface Weather {
  isStalled: boolean;
  isRefusing: boolean;
  latencyMs: number;
  slices: SliceOptions | undefined;
}

const FINE: Readonly<Weather> = { isStalled: false, isRefusing: false, latencyMs: 0, slices: undefined };
/** Held back in one direction of one connection. */
export const MAX_HELD_BYTES = 4 * 1024 * 1024;
const YIELD_SHARE = 0.25;

export class TcpProxy {
  readonly port: number;
  readonly #server: Server;
  readonly #target: ProxyTarget;
  readonly #weather: Weather = { ...FINE };
  readonly #connections = new Set<ProxiedConnection>();

  private constructor(server: Server, target: ProxyTarget) {
    this.#server = server;
    this.#target = target;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", (socket) => this.#accept(socket));
  }

  static async start(target: ProxyTarget): Promise<TcpProxy> {
    const server = createServer({ allowHalfOpen: true, noDelay: true });
    const port = await freePort();
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen(port, "127.0.0.1", resolve);
    });
    return new TcpProxy(server, target);
  }

  /** `host:port`. */
  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  get connections(): number {
    return this.#connections.size;
  }

  /** Read from one side and not yet taken by the other. */
  get heldBytes(): number {
    return [...this.#connections].reduce((sum, { heldBytes }) => sum + heldBytes, 0);
  }

  /** Resets every connection; new ones are taken. */
  cut(): void {
    for (const connection of this.#connections) connection.reset();
  }

  /** Resets every connection, and each new one, until `normal`. */
  refuse(): void {
    this.#weather.isRefusing = true;
    this.cut();
  }

  /** No byte passes in either direction until `normal`; connections stay open, and new ones are taken. */
  stall(): void {
    this.#weather.isStalled = true;
  }

  /** Each byte comes so much later, in each direction. */
  delay(latencyMs: number): void {
    this.#weather.latencyMs = latencyMs;
  }

  /** Whatever comes goes on in small pieces, each a segment of its own. */
  slice(options: SliceOptions): void {
    this.#weather.slices = options;
  }

  /** Ends all faults; what was held back goes on. */
  normal(): void {
    Object.assign(this.#weather, FINE);
    for (const connection of this.#connections) connection.goOn();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #accept(socket: Socket): void {
    if (this.#weather.isRefusing) {
      socket.on("error", () => undefined);
      socket.resetAndDestroy();
      return;
    }
    const { port, host = "127.0.0.1" } = this.#target;
    const target = connect({ port, host, allowHalfOpen: true, noDelay: true });
    const connection = new ProxiedConnection(socket, target, this.#weather);
    this.#connections.add(connection);
    connection.onEnd = () => this.#connections.delete(connection);
  }
}

class ProxiedConnection {
  onEnd: () => void = () => undefined;
  readonly #ways: readonly [Way, Way];

  constructor(
    private readonly client: Socket,
    private readonly target: Socket,
    weather: Readonly<Weather>,
  ) {
    this.#ways = [new Way(client, target, weather), new Way(target, client, weather)];
    let open = 2;
    for (const socket of [client, target]) {
      // A reset on one side is a reset on the other.
      socket.on("error", () => this.reset());
      socket.on("close", () => {
        open -= 1;
        if (open === 0) this.onEnd();
      });
    }
  }

  get heldBytes(): number {
    return this.#ways[0].heldBytes + this.#ways[1].heldBytes;
  }

  goOn(): void {
    for (const way of this.#ways) way.goOn();
  }

  reset(): void {
    for (const way of this.#ways) way.stop();
    for (const socket of [this.client, this.target]) {
      // A socket that is not connected yet cannot be reset.
      if (socket.connecting) socket.destroy();
      else socket.resetAndDestroy();
    }
  }
}

/** One direction of one connection: a queue in which bytes wait for their time. */
class Way {
  readonly #queue: { bytes: Buffer; readonly dueMs: number }[] = [];
  heldBytes = 0;
  #isWriting = false;
  #isEnded = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly from: Socket,
    private readonly to: Socket,
    private readonly weather: Readonly<Weather>,
  ) {
    from.on("data", (bytes: Buffer) => {
      this.#queue.push({ bytes, dueMs: performance.now() + weather.latencyMs });
      this.heldBytes += bytes.length;
      if (this.heldBytes > MAX_HELD_BYTES) from.pause();
      this.goOn();
    });
    from.on("end", () => {
      this.#isEnded = true;
      this.goOn();
    });
  }

  goOn(): void {
    if (this.#isWriting || this.weather.isStalled || this.to.destroyed) return;
    clearTimeout(this.#timer);
    const head = this.#queue[0];
    if (head === undefined) {
      if (this.#isEnded) this.to.end();
      return;
    }
    const waitMs = this.weather.latencyMs === 0 ? 0 : head.dueMs - performance.now();
    if (waitMs > 0) {
      this.#timer = setTimeout(() => this.goOn(), waitMs);
      return;
    }
    const { slices } = this.weather;
    const size = slices ? 1 + Math.floor(slices.random() * slices.maxBytes) : head.bytes.length;
    const piece = head.bytes.subarray(0, size);
    head.bytes = head.bytes.subarray(size);
    if (head.bytes.length === 0) this.#queue.shift();
    this.#isWriting = true;
    this.to.write(piece, () => {
      // Some pieces wait for the next turn, or the receiver would often read many of them as one.
      if (slices && slices.random() < YIELD_SHARE) setImmediate(() => this.#written(piece.length));
      else this.#written(piece.length);
    });
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#queue.length = 0;
    this.heldBytes = 0;
  }

  #written(byteCount: number): void {
    this.#isWriting = false;
    this.heldBytes -= byteCount;
    if (this.heldBytes <= MAX_HELD_BYTES / 2) this.from.resume();
    this.goOn();
  }
}
