/**
 * What the global set-up hands to tests: `inject("redisUrl")`, `inject("kafkaBrokers")`. A file that
 * needs a part which is not there is never loaded (see `missing-parts-runner.ts`), so tests of the
 * projects `stores` and `e2e` may rely on the values.
 */
declare module "vitest" {
  export interface ProvidedContext {
    /** `redis://host:port`; shared by all test files: use keys of your own and flush nothing. */
    redisUrl: string;
    /** `host:port`, comma-separated like `KAFKA_BROKERS`; shared: use topics and groups of your own. */
    kafkaBrokers: string;
    /** The parts that are not to be had; empty on a machine that has all. */
    missingParts: Part[];
  }
}

/** A real thing that tests run on. */
export type Part = "Redis" | "Kafka";

/** What a test file needs, told by its name. */
export function partsNeededBy(testFile: string): readonly Part[] {
  if (/-redis\.test\.ts$/.test(testFile)) return ["Redis"];
  if (/-kafka\.test\.ts$/.test(testFile)) return ["Kafka"];
  if (/\/test\/(e2e|faults\/rows)\//.test(testFile)) return ["Redis", "Kafka"];
  return [];
}
