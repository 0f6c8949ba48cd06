/**
 * The port of a scenario: which contestants take part, started how, and what is measured of each. A scenario
 * knows nothing of rounds, medians and tables; `benchmark.ts` runs its entrants in turn, round by round, and
 * gives every turn a fresh contestant and a fresh generator, which it also ends.
 */
import type { Contestant, ContestantOptions, RunningContestant } from "./contestant.js";
import type { FigureName, Figures } from "./figures.js";
import type { Generator } from "./generator/generator.js";

/** What came of one point of one turn. One that failed gives no figure. */
export type Outcome =
  | {
      readonly kind: "measured";
      readonly figures: Figures;
      /** CPU of the contestant's processes by their role, in seconds: where the time goes. */
      readonly cpuSecondsByRole?: Readonly<Record<string, number>>;
    }
  | { readonly kind: "failed"; readonly reason: string };

export interface Measurement {
  readonly point: string;
  readonly outcome: Outcome;
}

/** Its public side, which a test can put something else behind. */
export type LoadGenerator = Pick<Generator, keyof Generator>;

/** What an entrant measures with. */
export interface Turn {
  readonly contestant: RunningContestant;
  readonly generator: LoadGenerator;
  progress(line: string): void;
  /** Rejects at once when the benchmark is interrupted. */
  sleep(milliseconds: number): Promise<void>;
}

/** One contestant's start within a round. */
export interface Entrant {
  readonly contestant: Contestant;
  readonly options: ContestantOptions;
  /** Processes of the generator. Default 2. */
  readonly workers?: number;
  /** What it measures; one that it does not yield has failed. */
  readonly points: readonly string[];
  measure(turn: Turn): AsyncIterable<Measurement>;
}

export interface ScenarioSize {
  /** A few seconds instead of a figure to publish. */
  readonly isQuick: boolean;
}

export interface Scenario {
  /** As in `--scenario`. */
  readonly name: string;
  readonly description: string;
  /** The figure that the ratios to other contestants are told of. */
  readonly headline: FigureName;
  readonly rounds: number;
  /** Runs only where it is asked for by name. */
  readonly isByNameOnly: boolean;
  entrants(size: ScenarioSize): Promise<EntrantsOfRun>;
}

/** The entrants, and what they share, as a Kafka; ended after the last round. */
export interface EntrantsOfRun {
  readonly entrants: readonly Entrant[];
  stop?(): Promise<void>;
}
