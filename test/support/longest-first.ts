/**
 * The order of test files. Vitest begins with those that took longest the last time; on a fresh clone it knows
 * no times and goes by size, and a long file that begins last runs alone. Those that are named here come first.
 */
import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Within each project, the longest first; a file that takes a tenth of its project's time belongs here. */
export const LONGEST: readonly string[] = [
  "test/faults/domain-checker.test.ts",
  "edge/edge.test.ts",
  "fanout/policy/permissions.test.ts",
  "test/load/generator/generator.test.ts",
  "test/support/reaper.test.ts",
  "fanout/redis/redis-sentinel-redis.test.ts",
  "test/load/contestants/contestants-redis.test.ts",
  "fanout/event/event-source-kafka.test.ts",
  "fanout/channel/broker-cluster-redis.test.ts",
  "fanout/data-loss-redis.test.ts",
  "test/e2e/npm-start.test.ts",
  "test/e2e/presence.test.ts",
  "test/e2e/session-life.test.ts",
  "test/e2e/bad-input-websocket.test.ts",
  "test/e2e/processes.test.ts",
  "test/e2e/process-starts.test.ts",
  "test/e2e/offers.test.ts",
  "test/e2e/failover-poison.test.ts",
  "test/e2e/bad-input-handshakes.test.ts",
  "test/e2e/bad-input-values.test.ts",
  "test/e2e/tls.test.ts",
  "test/e2e/rate-limits.test.ts",
  "test/e2e/failover-outage.test.ts",
  "test/e2e/publish-stream.test.ts",
];

export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    // Sorting is stable: the others stay as they were.
    return sorted.sort((left, right) => rank(left.moduleId) - rank(right.moduleId));
  }
}

function rank(path: string): number {
  const index = LONGEST.findIndex((name) => path.endsWith(`/${name}`));
  return index === -1 ? LONGEST.length : index;
}
