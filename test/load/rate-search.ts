/**
 * The search for the highest rate that still holds: upwards by a factor until a rate does not hold (downwards
 * where not even the first does, until one holds), then one refinement between the highest that held and the
 * lowest that did not. Knows nothing of what a rate is.
 */

export interface RateSearch {
  readonly first: number;
  readonly factor: number;
  /** End the search where nothing holds, or everything. */
  readonly lowest: number;
  readonly highest: number;
}

export type RateTrial<Evidence> =
  { readonly holds: true; readonly evidence: Evidence } | { readonly holds: false; readonly reason: string };

export interface HighestRate<Evidence> {
  /** The highest that held, with what it was; undefined where none did. */
  readonly best: { readonly rate: number; readonly evidence: Evidence } | undefined;
  /** Why the lowest that did not hold did not; undefined where all held. */
  readonly limit: string | undefined;
}

export async function highestRate<Evidence>(
  { first, factor, lowest, highest }: RateSearch,
  attempt: (rate: number) => Promise<RateTrial<Evidence>>,
): Promise<HighestRate<Evidence>> {
  let best: HighestRate<Evidence>["best"];
  let limit: string | undefined;
  const tried = async (rate: number): Promise<boolean> => {
    const trial = await attempt(rate);
    if (trial.holds) best = { rate, evidence: trial.evidence };
    else limit = trial.reason;
    return trial.holds;
  };
  let held = await tried(first);
  const isUpwards = held;
  let rate = first;
  while (held === isUpwards) {
    const next = Math.round(isUpwards ? rate * factor : rate / factor);
    if (next < lowest || next > highest) return { best, limit };
    held = await tried(next);
    rate = next;
  }
  const other = isUpwards ? rate / factor : rate * factor;
  await tried(Math.round((rate + other) / 2));
  return { best, limit };
}
