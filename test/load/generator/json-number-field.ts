/**
 * Finds a number by its field's name in a JSON text that is not parsed. Texts of one kind have a field at the
 * same place nearly always: there it looks first.
 */
import { readAccuracyText } from "./wire-time.js";

export class JsonNumberField {
  readonly #name: Buffer;
  /** From the beginning of the text. */
  #lastAt = 0;

  constructor(name: string) {
    this.#name = Buffer.from(`"${name}":`);
  }

  /** The number in millionths; -1 where the text has no such field. */
  millionths(bytes: Buffer, start: number, end: number): number {
    let at = start + this.#lastAt;
    if (!this.#isAt(bytes, at, end)) {
      const found = bytes.subarray(start, end).indexOf(this.#name);
      if (found === -1) return -1;
      this.#lastAt = found;
      at = start + found;
    }
    return readAccuracyText(bytes, at + this.#name.length, end);
  }

  #isAt(bytes: Buffer, at: number, end: number): boolean {
    const name = this.#name;
    if (at + name.length > end) return false;
    for (let index = 0; index < name.length; index += 1) {
      if (bytes[at + index] !== name[index]) return false;
    }
    return true;
  }
}
