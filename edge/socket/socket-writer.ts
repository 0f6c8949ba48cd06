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
  #frames: Buffer[] = [];
  #frameBytes = 0;
  /** The newest frame of each key, while the client reads slowly. */
  #held: Map<string, Buffer> | undefined;
  #heldBytes = 0;
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
    this.#frames.push(frame);
    this.#frameBytes += frame.length;
    if (this.#frames.length === 1) this.#options.turn.add(this);
    // Slow is who does not read, not who is sent much at once: the kernel is asked before that is judged.
    if (this.#frameBytes > FLUSH_BYTES || this.#isTooMuch) this.flush();
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
    this.#refuseSlow();
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
    const frames = this.#frames;
    if (frames.length === 0 || this.#isEnded) return;
    const { socket, counters } = this.#options;
    if (!socket.writable) {
      this.end();
      return;
    }
    const bytes = this.#frameBytes;
    this.#frames = [];
    this.#frameBytes = 0;
    counters.framesWritten += frames.length;
    counters.bytesWritten += bytes;
    counters.socketWrites += 1;
    const [first] = frames;
    if (frames.length === 1 && first !== undefined) socket.write(first);
    else if (bytes <= COPY_BYTES) socket.write(Buffer.concat(frames, bytes));
    else {
      socket.cork();
      for (const frame of frames) socket.write(frame);
      socket.uncork();
    }
    if (socket.writableNeedDrain) {
      this.#watch();
      this.#refuseSlow();
    } else this.#releaseHeld();
  }

  /** Drops what is queued here and takes nothing more: the socket is gone. */
  end(): void {
    this.#isEnded = true;
    this.#frames = [];
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
    return (
      this.queuedBytes > this.#options.limits.conflateBytes &&
      (this.#frames.length > 0 || this.#options.socket.writableNeedDrain)
    );
  }

  #refuseSlow(): void {
    if (this.#isTooMuch) this.#options.onSlow();
  }

  get #isTooMuch(): boolean {
    return this.queuedBytes > this.#options.limits.closeBytes;
  }

  #watch(): void {
    const { backlogged, socket } = this.#options;
    if (backlogged.has(this)) return;
    backlogged.add(this);
    socket.once("drain", this.#drained);
  }

  readonly #drained = (): void => {
    this.#options.backlogged.delete(this);
    this.#releaseHeld();
  };

  #releaseHeld(): void {
    const held = this.#held;
    this.#held = undefined;
    this.#heldBytes = 0;
    if (held !== undefined) for (const frame of held.values()) this.write(frame);
  }
}
