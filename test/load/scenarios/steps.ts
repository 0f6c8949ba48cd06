/** Steps that scenarios share: entering contestants that are measured alike, bringing clients in, and a load of locations with what it cost. */
import type { ClientPlan, Contestant } from "#test/load/contestant.js";
import { withCost, type Cost } from "#test/load/cost.js";
import type { LoadResult } from "#test/load/generator/generator.js";
import type { Entrant, Turn } from "#test/load/scenario.js";

export interface LocationLoad {
  readonly perSecond: number;
  readonly seconds: number;
  /** Before it, at the same rate and not counted: compilers warm up, buffers grow. */
  readonly warmUpSeconds: number;
}

/** A worker may have 20,000 descriptors, and while clients come back some for sockets that are not gone yet. */
const CLIENTS_A_WORKER = 15_000;

/** Contestants as they start by default, each measured in the same way. */
export function alike(
  contestants: readonly Contestant[],
  measured: Omit<Entrant, "contestant" | "options">,
): readonly Entrant[] {
  return contestants.map((contestant) => ({ contestant, options: {}, ...measured }));
}

export function workersFor(connections: number): number {
  return Math.max(2, Math.ceil(connections / CLIENTS_A_WORKER));
}

/** Well below what the slowest contestant lets in on two cores: how fast that is, is told by `storm`. */
const CONNECTS_PER_SECOND = 500;

/** Rejects where somebody cannot be let in. */
export async function bringIn(
  turn: Turn,
  clients: readonly ClientPlan[],
): Promise<{ readonly seconds: number }> {
  const { contestant, generator, progress } = turn;
  await contestant.admit(clients);
  const connected = await generator.connect(contestant, clients, { perSecond: CONNECTS_PER_SECOND });
  progress(`${clients.length} clients in after ${connected.seconds.toFixed(1)} s`);
  return connected;
}

/** The warm-up is a load of its own, so that CPU is read at the very beginning of what counts. */
export async function sendLocations(
  turn: Turn,
  { perSecond, seconds, warmUpSeconds }: LocationLoad,
): Promise<{ readonly result: LoadResult; readonly cost: Cost; readonly expectedSent: number }> {
  const { generator } = turn;
  if (warmUpSeconds > 0) {
    await generator.sendLocations({ perSecond, seconds: warmUpSeconds, warmUpSeconds: 0 });
  }
  const { value, cost } = await withCost(turn, () =>
    generator.sendLocations({ perSecond, seconds, warmUpSeconds: 0 }),
  );
  return { result: value, cost, expectedSent: perSecond * seconds };
}
