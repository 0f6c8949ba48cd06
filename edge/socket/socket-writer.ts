/**
 * Writes WebSocket frames to one socket. What is queued within one turn of the event loop is one write.
 *
 * A client that reads slowly costs itself, not others: from `conflateBytes` queued on, only the newest
 * `latest` frame of each key is held and ephemeral frames are dropped; above `closeBytes` the socket is
 * given up through `onSlow`. Durable frames are never dropped and keep their order.
 */
import type { Writable } from "node:stream";

export interface SlowSocketLimits {
  readonly conflateBytes: number;
  readonly closeBytes: number;
}

/** Counts what happens to frames, for all sockets of an edge together. */
export interface WriterCounters {
  framesWritten: number;
  bytesWritten: number;
  socketWrites: number;
  framesConflated: number;
  framesDropped: number;
}

/** Flushes every writer that was written to in this turn, once. */
export class WriteTurn {
  #dirty: SocketWriter[] = [];

  add(writer: SocketWriter): void {
    if (this.#dirty.push(writer) === 1) setImmediate(this.#flush);
  }

  readonly #flush = (): void => {
    const dirty = this.#dirty;
    this.#dirty = [];
    for (const writer of dirty) writer.flush();
  };
}

export interface SocketWriterOptions {
  readonly socket: Writable;
  readonly turn: WriteTurn;
  readonly limits: SlowSocketLimits;
  readonly counters: WriterCounters;
  /** Writers that hold bytes back, for the bound over all sockets of the edge. */
  readonly backlogged: Set<SocketWriter>;
  readonly onSlow: () => void;
}

/** Up to here frames of one turn are copied into one buffer; above, the kernel gathers them. */
const COPY_BYTES = 32 * 1024;
/** So much of one turn is written before the turn ends. */
const FLUSH_BYTES = 128 * 1024;

export class SocketWriter {
  readonly #options: SocketWriterOptions;
  /** What was written in this turn: nearly always one frame, so that it costs no array. */
  #first: Buffer | undefined;
  #others: Buffer[] | undefined;
  #frameBytes = 0;
  /** The newest frame of each key, while the client reads slowly. */
  #held: Map<string, Buffer> | undefined;
  #heldBytes = 0;
  /** The socket takes no more until it drains. Known here, so that a socket in a broadcast is touched once. */
  #isStalled = false;
  #isEnded = false;

  constructor(options: SocketWriterOptions) {
    this.#options = options;
  }

  /** Bytes that the client has not been given to the kernel for. */
  get queuedBytes(): number {
    return this.#options.socket.writableLength + this.#frameBytes + this.#heldBytes;
  }

  /** A frame that must arrive. */
  write(frame: Buffer): void {
    if (this.#isEnded) return;
    this.#frameBytes += frame.length;
    if (this.#first === undefined) {
      this.#first = frame;
      this.#options.turn.add(this);
    } else {
      this.#others ??= [];
      this.#others.push(frame);
    }
    // Slow is who does not read, not who is sent much at once: the kernel is asked before that is judged.
    if (this.#frameBytes > FLUSH_BYTES || (this.#isStalled && this.#isTooMuch)) this.flush();
  }

  /** The newest frame of a key. */
  writeLatest(key: string, frame: Buffer): void {
    if (this.#isEnded) return;
    // While anything is held, all of it is: a newer value written now would be followed by the older one.
    if (this.#held === undefined && !this.#isBehind) {
      this.write(frame);
      return;
    }
    this.#held ??= new Map();
    const older = this.#held.get(key);
    if (older !== undefined) this.#options.counters.framesConflated += 1;
    this.#held.set(key, frame);
    this.#heldBytes += frame.length - (older?.length ?? 0);
    if (this.#options.socket.writableNeedDrain) this.#watch();
    if (this.#isTooMuch) this.#options.onSlow();
  }

  /** A frame that may be lost. True: it is not, and stands behind everything that was written before. */
  writeEphemeral(frame: Buffer): boolean {
    if (this.#isEnded) return false;
    if (this.#isBehind) {
      this.#options.counters.framesDropped += 1;
      return false;
    }
    this.write(frame);
    return true;
  }

  flush(): void {
    const first = this.#first;
    if (first === undefined || this.#isEnded) return;
    const { socket, counters } = this.#options;
    if (!socket.writable) {
      this.end();
      return;
    }
    const others = this.#others;
    const bytes = this.#frameBytes;
    this.#first = undefined;
    this.#others = undefined;
    this.#frameBytes = 0;
    counters.framesWritten += 1 + (others?.length ?? 0);
    counters.bytesWritten += bytes;
    counters.socketWrites += 1;
    if (others === undefined) socket.write(first);
    else if (bytes <= COPY_BYTES) socket.write(Buffer.concat([first, ...others], bytes));
    else {
      socket.cork();
      socket.write(first);
      for (const frame of others) socket.write(frame);
      socket.uncork();
    }
    if (socket.writableNeedDrain) {
      this.#watch();
      if (this.#isTooMuch) this.#options.onSlow();
    } else if (this.#held !== undefined) this.#releaseHeld();
  }

  /** Drops what is queued here and takes nothing more: the socket is gone. */
  end(): void {
    this.#isEnded = true;
    this.#first = undefined;
    this.#others = undefined;
    this.#frameBytes = 0;
    this.#held = undefined;
    this.#heldBytes = 0;
    this.#options.backlogged.delete(this);
  }

  /** Gives the socket up as slow, as if its own bound were reached: the edge's bound is. */
  giveUp(): void {
    if (!this.#isEnded) this.#options.onSlow();
  }

  /** Whether so much waits that latest values replace each other; a flush or a drain is still to come then. */
  get #isBehind(): boolean {
    if (this.#first === undefined && !this.#isStalled) return false;
    return this.queuedBytes > this.#options.limits.conflateBytes;
  }

  get #isTooMuch(): boolean {
    return this.queuedBytes > this.#options.limits.closeBytes;
  }

  #watch(): void {
    if (this.#isStalled) return;
    this.#isStalled = true;
    this.#options.backlogged.add(this);
    this.#options.socket.once("drain", () => this.#drained());
  }

  #drained(): void {
    this.#isStalled = false;
    this.#options.backlogged.delete(this);
    this.#releaseHeld();
  }

  #releaseHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    this.#heldBytes = 0;
    if (held !== undefined) for (const frame of held.values()) this.write(frame);
  }
}
