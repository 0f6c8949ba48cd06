/**
 * The receiving half of a link's flow control: counts what was dealt with and says when to give the
 * sender new credit, in steps of half a window, so that credits themselves cost nothing.
 */
export const LINK_WINDOW_BYTES = 8 * 1024 * 1024;

export class CreditWindow {
  #consumedBytes = 0;

  constructor(private readonly windowBytes: number = LINK_WINDOW_BYTES) {}

  /** Counts a batch that was dealt with; returns the credit to give now, or 0. */
  consume(bytes: number): number {
    this.#consumedBytes += bytes;
    if (this.#consumedBytes * 2 < this.windowBytes) return 0;
    const credit = this.#consumedBytes;
    this.#consumedBytes = 0;
    return credit;
  }
}
