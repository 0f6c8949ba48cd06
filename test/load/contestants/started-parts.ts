/**
 * What a contestant has started, ended together: the last first, all of them even where one does not end.
 */

export class StartedParts {
  readonly #stops: (() => Promise<unknown>)[] = [];

  /** Notes how to end what was started. */
  add<Part>(part: Part, stop: (part: Part) => Promise<unknown>): Part {
    this.#stops.push(() => stop(part));
    return part;
  }

  /** Starts several at once; those that did start are noted also where another does not. */
  async addAll<Part>(
    starts: readonly Promise<Part>[],
    stop: (part: Part) => Promise<unknown>,
  ): Promise<readonly Part[]> {
    const results = await Promise.allSettled(starts);
    const parts: Part[] = [];
    for (const result of results) {
      if (result.status === "fulfilled") parts.push(this.add(result.value, stop));
    }
    const failure = results.find((result) => result.status === "rejected");
    if (failure !== undefined) throw failure.reason;
    return parts;
  }

  /** Rejects with the first failure when all were tried. */
  async stop(): Promise<void> {
    const failures: unknown[] = [];
    for (const stop of this.#stops.splice(0).reverse()) {
      await stop().catch((error: unknown) => failures.push(error));
    }
    if (failures.length > 0) throw failures[0];
  }
}
