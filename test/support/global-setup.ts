/**
 * Vitest's global set-up of the projects `stores`, `e2e` and `faults`: brings up the Redis and the Kafka that
 * the files of this run need, once for all projects, and for the last two builds the processes. Where a
 * part is not to be had it says what to install and which files are not run; with `CI=true` it fails.
 */
import { spawnSync } from "node:child_process";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";
import type { Part } from "./provided-context.js";
import { partsNeededBy } from "./provided-context.js";
import type { SharedStores } from "./shared-stores.js";
import { startSharedStores } from "./shared-stores.js";

interface Shared {
  users: number;
  readonly stores: Promise<SharedStores>;
}

/** Each project loads this file on its own; what they share stands on the process. */
const shared = globalThis as typeof globalThis & { realtimeGatewayStores?: Shared };

const INSTALL_HINT: Readonly<Record<Part, string>> = {
  Redis: "install redis-server 7 or newer, or Docker with Compose, or set TEST_REDIS_URL",
  Kafka:
    "install Java 17 or newer and Maven, or Docker with Compose, or set KAFKA_HOME or TEST_KAFKA_BROKERS",
};

const checkout = fileURLToPath(new URL("../..", import.meta.url));

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const files = project.vitest.state.getPaths();
  if (files.some((file) => /\/test\/(e2e|faults\/rows)\//.test(file))) build();

  const parts = (["Redis", "Kafka"] as const).filter((part) => files.some((file) => needs(file, part)));
  shared.realtimeGatewayStores ??= { users: 0, stores: startSharedStores(parts, progress) };
  const own = shared.realtimeGatewayStores;
  const isFirst = own.users === 0;
  own.users += 1;
  const stores = await own.stores;

  const missing = parts.filter((part) => addressOf(stores, part) === undefined);
  if (missing.length > 0) {
    if (isFirst) report(missing, files);
    if (process.env["CI"]) {
      await release(own);
      throw new Error(`${missing.join(" and ")} not to be had, and with CI set that is a failure`);
    }
  }
  project.provide("redisUrl", stores.redisUrl ?? "");
  project.provide("kafkaBrokers", stores.kafkaBrokers ?? "");
  project.provide("missingParts", missing);
  return () => release(own);
}

async function release(own: Shared): Promise<void> {
  own.users -= 1;
  if (own.users > 0) return;
  delete shared.realtimeGatewayStores;
  await (await own.stores).stop();
}

function needs(file: string, part: Part): boolean {
  return partsNeededBy(file).includes(part);
}

function addressOf(stores: SharedStores, part: Part): string | undefined {
  return part === "Redis" ? stores.redisUrl : stores.kafkaBrokers;
}

function report(missing: readonly Part[], files: readonly string[]): void {
  for (const part of missing) {
    progress(`${part} is not to be had: ${INSTALL_HINT[part]}. Not run without it:`);
    for (const file of files) if (needs(file, part)) progress(`  ${relative(checkout, file)}`);
  }
}

/** The processes under test are those of `dist`; a stale build would test yesterday's code. */
function build(): void {
  const result = spawnSync(process.execPath, ["scripts/build.mjs", "--if-stale"], {
    cwd: checkout,
    stdio: ["ignore", "inherit", "inherit"],
  });
  if (result.status !== 0) throw new Error("the build failed; e2e tests run the built processes");
}

function progress(line: string): void {
  console.log(line);
}
