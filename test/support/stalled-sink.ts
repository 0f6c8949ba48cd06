/**
 * A socket whose peer is in the test's hand: while it is stalled, what is written
 * stays queued as with a client that does not read; `takeOne` lets the kernel have what is under way.
 */
import { Duplex } from "node:stream";

type Done = (error?: Error | null) => void;

export class StalledSink extends Duplex {
  /** What was taken, one entry for each system call. */
  readonly writes: Buffer[] = [];
  #isStalled = false;
  #underWay: (() => void) | undefined;

  /** Everything that was taken. */
  get bytes(): Buffer {
    return Buffer.concat(this.writes);
  }

  stall(): void {
    this.#isStalled = true;
  }

  /** Lets the write under way end; what is queued behind it becomes the next one and waits. */
  takeOne(): void {
    const underWay = this.#underWay;
    this.#underWay = undefined;
    underWay?.();
  }

  /** The peer reads again: everything that waits is taken. */
  flow(): void {
    this.#isStalled = false;
    this.takeOne();
  }

  override _read(): void {
    // The peer says nothing.
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: Done): void {
    this.#send(chunk, done);
  }

  override _writev(chunks: readonly { chunk: unknown }[], done: Done): void {
    this.#send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done);
  }

  #send(bytes: Buffer, done: Done): void {
    const taken = (): void => {
      this.writes.push(bytes);
      done();
    };
    if (this.#isStalled) this.#underWay = taken;
    else taken();
  }
}
