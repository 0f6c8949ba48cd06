/**
 * The newest send time that one client has seen of each sender of its room: what does not grow came twice or
 * out of order. Rooms with one sender need no table.
 */
export class NewestOfSenders {
  #newestUs = 0;
  readonly #bySender: Float64Array | undefined;

  constructor(senders: number) {
    if (senders > 1) this.#bySender = new Float64Array(senders + 1);
  }

  /** Whether the sender of an event has to be known. */
  get needsSender(): boolean {
    return this.#bySender !== undefined;
  }

  /** False where it is not newer than what came before of this sender (from 1; another number: of the backend). */
  isNewer(sentUs: number, sender: number): boolean {
    if (this.#bySender === undefined) {
      if (sentUs <= this.#newestUs) return false;
      this.#newestUs = sentUs;
      return true;
    }
    const index = Number.isInteger(sender) && sender > 0 && sender < this.#bySender.length ? sender : 0;
    if (sentUs <= (this.#bySender[index] ?? 0)) return false;
    this.#bySender[index] = sentUs;
    return true;
  }
}
