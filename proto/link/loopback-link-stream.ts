/**
 * A link stream inside one process: two ends that hand each other their batches in a later turn of the
 * event loop, in order. It never fills: the credits of the link bound what is under way.
 */
import type { LinkStream, LinkStreamListener } from "./link-stream.js";

class LoopbackEnd implements LinkStream {
  peer: LoopbackEnd | undefined;
  #listener: LinkStreamListener | undefined;
  #isClosed = false;

  send(batch: Uint8Array): boolean {
    const { peer } = this;
    if (!this.#isClosed) setImmediate(() => peer?.receive(batch));
    return true;
  }

  listen(listener: LinkStreamListener): void {
    this.#listener = listener;
  }

  end(): void {
    this.destroy("ended");
  }

  destroy(reason: string): void {
    const { peer } = this;
    setImmediate(() => {
      this.close(reason);
      peer?.close(reason);
    });
  }

  receive(batch: Uint8Array): void {
    if (!this.#isClosed) this.#listener?.batch(batch);
  }

  close(reason: string): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener?.closed(reason);
  }
}

export function loopbackLink(): [LinkStream, LinkStream] {
  const left = new LoopbackEnd();
  const right = new LoopbackEnd();
  left.peer = right;
  right.peer = left;
  return [left, right];
}
