/**
 * The streams that backend services have open: told to end when this server does, and counted. How many there
 * may be is the gate's to say; one that comes while they end is ended at once.
 */
export interface OpenStream {
  /** Takes nothing more, answers what it has taken, and ends. */
  drain(): void;
  /** Read and not answered. */
  readonly itemsInHand: number;
}

export class OpenStreams {
  readonly #open = new Set<OpenStream>();
  #isDraining = false;

  get size(): number {
    return this.#open.size;
  }

  get itemsInHand(): number {
    let sum = 0;
    for (const stream of this.#open) sum += stream.itemsInHand;
    return sum;
  }

  opened(stream: OpenStream): void {
    this.#open.add(stream);
    if (this.#isDraining) stream.drain();
  }

  closed(stream: OpenStream): void {
    this.#open.delete(stream);
  }

  drain(): void {
    this.#isDraining = true;
    for (const stream of [...this.#open]) stream.drain();
  }
}
