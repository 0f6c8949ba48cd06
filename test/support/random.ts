/**
 * Chance that can be had again: every choice of a test comes from one seed, which fault tests print and take
 * from FAULT_SEED. The generator is mulberry32; nothing about it needs to be secret.
 */
export class Random {
  #state: number;

  constructor(readonly seed: number) {
    this.#state = seed >>> 0;
  }

  /** FAULT_SEED, else a new one. */
  static fromEnvironment(): Random {
    const given = process.env["FAULT_SEED"];
    return new Random(given === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(given));
  }

  /** 0 up to 1, as `Math.random`. */
  readonly next = (): number => {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = this.#state;
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };

  /** An integer from `from` up to and without `to`. */
  integer(from: number, to: number): number {
    return from + Math.floor(this.next() * (to - from));
  }

  pick<Item>(items: readonly Item[]): Item {
    const item = items[this.integer(0, items.length)];
    if (item === undefined) throw new Error("nothing to choose from");
    return item;
  }

  shuffle<Item>(items: readonly Item[]): Item[] {
    return items
      .map((item) => ({ item, order: this.next() }))
      .sort((left, right) => left.order - right.order)
      .map(({ item }) => item);
  }

  /** A generator of its own for one part, so that parts do not disturb each other's order. */
  branch(): Random {
    return new Random(this.integer(0, 2 ** 31));
  }
}
