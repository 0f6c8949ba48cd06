import { describe, expect, test } from "vitest";
import { runBenchmark } from "./benchmark.js";
import type { Contestant, RunningContestant } from "./contestant.js";
import type { Entrant, LoadGenerator, Scenario } from "./scenario.js";

/** Everything that happens, in its order. */
class Stage {
  readonly events: string[] = [];

  contestant(name: string, failure?: string): Contestant {
    const running: RunningContestant = {
      ...{ name, dialect: "bare-ws", endpoints: [], processes: [] },
      admit: async () => undefined,
      credentials: async () => "",
      publish: async () => undefined,
      stop: async () => void this.events.push(`${name} stops`),
    };
    return {
      name,
      start: async () => {
        this.events.push(`${name} starts`);
        if (failure !== undefined) throw new Error(failure);
        return running;
      },
    };
  }

  readonly startGenerator = async (): Promise<LoadGenerator> => {
    const never = () => Promise.reject(new Error("not here"));
    return {
      ...{ connect: never, sendLocations: never, beginMeasuring: never, endMeasuring: never },
      ...{ dropAndReturn: never, disconnect: never, pids: [] },
      stop: async () => void this.events.push("generator stops"),
    };
  };

  run(entrants: readonly Entrant[], options: { rounds?: number; signal?: AbortSignal } = {}) {
    const scenario: Scenario = {
      ...{ name: "s", description: "", headline: "p99Ms", rounds: 1, isByNameOnly: false },
      entrants: async () => ({ entrants, stop: async () => void this.events.push("scenario stops") }),
    };
    return runBenchmark({
      ...{ scenarios: [scenario], isQuick: false, rounds: options.rounds },
      signal: options.signal ?? new AbortController().signal,
      progress: () => undefined,
      startGenerator: this.startGenerator,
    });
  }
}

function entrant(contestant: Contestant, measure?: Entrant["measure"]): Entrant {
  return {
    ...{ contestant, options: {}, points: ["first", "second"] },
    measure:
      measure ??
      async function* () {
        for (const point of ["first", "second"]) {
          yield { point, outcome: { kind: "measured", figures: { p99Ms: 1 } } };
        }
      },
  };
}

describe("the benchmark", () => {
  test("takes the contestants in turn, round by round, one after the other", async () => {
    const stage = new Stage();
    const entrants = ["A", "B"].map((name) => entrant(stage.contestant(name)));
    const runs = await stage.run(entrants, { rounds: 2 });
    const turn = (name: string) => [`${name} starts`, "generator stops", `${name} stops`];
    const round = [...turn("A"), ...turn("B")];
    expect(stage.events).toEqual([...round, ...round, "scenario stops"]);
    expect(runs.map(({ contestant, round: number, point }) => `${number}${contestant} ${point}`)).toEqual([
      ...["1A first", "1A second", "1B first", "1B second"],
      ...["2A first", "2A second", "2B first", "2B second"],
    ]);
  });

  test("fails every point of a contestant that does not start, and goes on", async () => {
    const stage = new Stage();
    const broken = entrant(stage.contestant("A", "no Redis\nat length"));
    const runs = await stage.run([broken, entrant(stage.contestant("B"))]);
    expect(runs.map(({ outcome }) => outcome.kind)).toEqual(["failed", "failed", "measured", "measured"]);
    expect(runs[0]?.outcome).toEqual({ kind: "failed", reason: "no Redis" });
  });

  test("keeps what was measured before a failure, fails the rest, and ends the contestant", async () => {
    const stage = new Stage();
    const halfway = entrant(stage.contestant("A"), async function* () {
      yield { point: "first", outcome: { kind: "measured", figures: { p99Ms: 1 } } };
      throw new Error("3 of 10 not ready");
    });
    const runs = await stage.run([halfway]);
    expect(runs.map(({ outcome }) => outcome)).toEqual([
      { kind: "measured", figures: { p99Ms: 1 } },
      { kind: "failed", reason: "3 of 10 not ready" },
    ]);
    expect(stage.events).toContain("A stops");
  });

  test("fails a point that is never told", async () => {
    const stage = new Stage();
    const silent = entrant(stage.contestant("A"), async function* () {
      yield { point: "first", outcome: { kind: "measured", figures: {} } };
    });
    const runs = await stage.run([silent]);
    expect(runs[1]?.outcome).toEqual({ kind: "failed", reason: "it was not measured" });
  });

  test("ends what runs when it is interrupted, in order, and begins nothing more", async () => {
    const stage = new Stage();
    const interrupt = new AbortController();
    const endless = entrant(stage.contestant("A"), async function* (turn) {
      interrupt.abort();
      await turn.sleep(1e6);
      yield { point: "first", outcome: { kind: "measured", figures: {} } };
    });
    const runs = await stage.run([endless, entrant(stage.contestant("B"))], {
      signal: interrupt.signal,
    });
    expect(runs).toEqual([]);
    expect(stage.events).toEqual(["A starts", "generator stops", "A stops", "scenario stops"]);
  });
});
