/** Tests: `unit` needs nothing but Node; `stores` and `e2e` run on a real Redis and Kafka (see test/support). */
import { defineConfig } from "vitest/config";
import LongestFirst from "./test/support/longest-first.js";

const REAL_STORES = ["**/*-redis.test.ts", "**/*-kafka.test.ts"];

/** Tests that measure pauses and latencies: they have the machine for themselves. */
const MEASURING = ["test/e2e/slow-client.test.ts", "test/e2e/failover.test.ts"];

/** Faults under load and their checker's verdict (`npm run test:faults`); without FAULTS=full some of them, short. */
const IS_SHORT = process.env["FAULTS"] === undefined;
const SHORT_ROWS = [
  ...["fanout-killed", "fanouts-restarted", "fanout-frozen", "edge-killed", "message-dropped"],
  "domain-fanout-killed",
];
const FAULTS = (IS_SHORT ? SHORT_ROWS : ["*"]).map((row) => `test/faults/rows/${row}.test.ts`);

/** Tests wait more than they work: on two cores three files at a time take two thirds of the time that one takes. */
const WAITING_WORKERS = 3;

/** Brings up Redis and Kafka, and leaves out, told, what cannot run without them. */
const onRealStores = {
  globalSetup: ["test/support/global-setup.ts"],
  runner: "test/support/missing-parts-runner.ts",
};

export default defineConfig({
  ssr: { resolve: { conditions: ["development", "node", "import", "default"] } },
  test: {
    // A file is a process of its own, so that what it starts can be cleaned up with it.
    pool: "forks",
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["{proto,edge,fanout,services,test}/**/*.test.ts"],
          exclude: [...REAL_STORES, "test/e2e/**", "test/faults/rows/**"],
          maxWorkers: WAITING_WORKERS,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "stores",
          include: REAL_STORES.map((pattern) => `{proto,edge,fanout,services,test}/${pattern}`),
          exclude: ["test/e2e/**"],
          testTimeout: 20_000,
          hookTimeout: 30_000,
          maxWorkers: WAITING_WORKERS,
          sequence: { groupOrder: 1 },
          ...onRealStores,
        },
      },
      {
        extends: true,
        test: {
          name: "e2e",
          include: ["test/e2e/**/*.test.ts"],
          exclude: MEASURING,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          // Each file runs half a dozen processes, which wait more than they work.
          maxWorkers: WAITING_WORKERS,
          sequence: { groupOrder: 2 },
          ...onRealStores,
        },
      },
      {
        extends: true,
        test: {
          name: "e2e-alone",
          include: MEASURING,
          testTimeout: 60_000,
          hookTimeout: 120_000,
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
          ...onRealStores,
        },
      },
      {
        extends: true,
        test: {
          name: "faults",
          include: FAULTS,
          testTimeout: 300_000,
          hookTimeout: 120_000,
          maxWorkers: IS_SHORT ? 2 : 1,
          sequence: { groupOrder: 4 },
          ...onRealStores,
          globalSetup: [...onRealStores.globalSetup, "test/faults/summary-setup.ts"],
        },
      },
    ],
  },
});
