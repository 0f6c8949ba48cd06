/**
 * Takes sessions to be opened in the order in which they came, so many at once: each costs the store several
 * round trips, and a storm of them must leave it and this process to the sessions that are open. Sessions that
 * come from another home are first, because they are live: their sockets wait for nothing else. It knows
 * nothing of what opening is. Live ones are as many as the edges hold; how many others may wait is bounded.
 */
export interface OpeningQueueOptions {
  /** Openings under way at once, and begun within one turn of the event loop. */
  readonly concurrency?: number;
  /** New sessions that may wait; one more is not taken. */
  readonly maxWaiting?: number;
}

export interface Opening {
  /** From another home. */
  readonly isLive: boolean;
  /** Opens it; never rejects. */
  begin(): Promise<void>;
}

export const DEFAULT_CONCURRENT_OPENINGS = 256;
/** As many as an edge may hold sockets by default. */
export const DEFAULT_MAX_WAITING = 20_000;

export class OpeningQueue<Session extends object> {
  readonly #concurrency: number;
  readonly #maxWaiting: number;
  /** By session, so that one that ends leaves without a search; in the order in which they came. */
  readonly #live = new Map<Session, Opening>();
  readonly #new = new Map<Session, Opening>();
  #underWay = 0;
  #begunInTurn = 0;

  constructor({
    concurrency = DEFAULT_CONCURRENT_OPENINGS,
    maxWaiting = DEFAULT_MAX_WAITING,
  }: OpeningQueueOptions = {}) {
    this.#concurrency = concurrency;
    this.#maxWaiting = maxWaiting;
  }

  get waiting(): number {
    return this.#live.size + this.#new.size;
  }

  get underWay(): number {
    return this.#underWay;
  }

  isWaiting(session: Session): boolean {
    return this.#live.has(session) || this.#new.has(session);
  }

  /** Begins at once where there is room. False where too many wait: it is not taken. */
  enter(session: Session, opening: Opening): boolean {
    if (!opening.isLive && this.#new.size >= this.#maxWaiting) return false;
    (opening.isLive ? this.#live : this.#new).set(session, opening);
    this.#run();
    return true;
  }

  /** It has ended. What is under way goes on, and finds out by itself. */
  leave(session: Session): void {
    if (!this.#live.delete(session)) this.#new.delete(session);
  }

  #run(): void {
    while (this.#underWay < this.#concurrency && this.#begunInTurn < this.#concurrency) {
      const [next] = this.#live.size > 0 ? this.#live : this.#new;
      if (next === undefined) return;
      const [session, opening] = next;
      this.leave(session);
      this.#underWay += 1;
      this.#countTurn();
      void opening.begin().finally(() => {
        this.#underWay -= 1;
        this.#run();
      });
    }
  }

  /** While the store is away openings end as soon as they begin: also then others have their turns. */
  #countTurn(): void {
    this.#begunInTurn += 1;
    if (this.#begunInTurn > 1) return;
    setImmediate(() => {
      this.#begunInTurn = 0;
      this.#run();
    });
  }
}
