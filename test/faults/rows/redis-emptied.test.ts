import { Redis } from "ioredis";
import { expect, it } from "vitest";
import { startRedis } from "#test/support/redis.js";
import type { Cluster } from "#test/e2e/cluster.js";
import { waitFor } from "#test/support/wait-for.js";
import { fullOrShort, runScenario } from "../scenario.js";
import type { Ledger } from "../ledger.js";

const TIMES = fullOrShort(3, 1);
/** Every followed channel is looked at so often. */
const TOLD_WITHIN_MS = 15_000;

it("Redis emptied: every follower is told, there is no silent gap, and service goes on", async () => {
  const redis = await startRedis();
  const admin = new Redis(redis.url);
  try {
    await runScenario({
      name: `Redis emptied, ${TIMES} times`,
      cluster: { redisUrl: redis.url },
      fault: async ({ cluster, ledger, pause, notes }) => {
        let lastMs = 0;
        for (let time = 0; time < TIMES; time += 1) {
          const emptiedMs = performance.now();
          const expected = followersWithEvents(ledger, lastMs, emptiedMs);
          await admin.flushall("ASYNC");
          lastMs = performance.now();
          // Who takes part is lost too: sockets keep what they follow, services grant it again.
          await pause(500);
          await grantAgain(cluster, ledger);
          await waitFor(() => notTold(ledger, expected, emptiedMs).length === 0, {
            what: "every follower to be told",
            timeoutMs: TOLD_WITHIN_MS,
            pollMs: 100,
          }).catch(() => undefined); // Who was not told is named here:
          expect(notTold(ledger, expected, emptiedMs)).toEqual([]);
          notes.push(`${expected.size} followers told`);
          await pause(1000);
        }
        expect(
          [...ledger.readers.values()].filter(({ entries }) => entries.some(({ type }) => type === "closed")),
        ).toEqual([]);
      },
      // What was on its way is gone with the store, and that is told; nobody is told without a reason.
      allowed: { told: Infinity, excused: Infinity },
    });
  } finally {
    admin.disconnect();
    await redis.kill();
  }
});

/** What services know, and Redis has lost. */
async function grantAgain(cluster: Cluster, ledger: Ledger): Promise<void> {
  for (const { worker, channel, readers } of ledger.locations.values()) {
    const parts = [...readers].map((reader) => [reader, "MEMBER"] as const);
    await cluster.grant(channel.slice("order:".length), {
      ...Object.fromEntries(parts),
      [worker]: "ASSIGNED",
    });
  }
}

/** Who follows a channel in which something was stored in that time: there is something to be told of. */
function followersWithEvents(ledger: Ledger, fromMs: number, toMs: number): ReadonlySet<string> {
  const followers = new Set<string>();
  for (const { channel, readers, beganMs, endedMs, outcome } of ledger.writes.values()) {
    const wasStored = outcome.kind === "acknowledged" && beganMs > fromMs && endedMs < toMs;
    if (wasStored) for (const reader of readers) followers.add(`${reader} ${channel}`);
  }
  return followers;
}

/** Those of them who were not told `recovered: false` since. */
function notTold(ledger: Ledger, followers: ReadonlySet<string>, sinceMs: number): string[] {
  const left = new Set(followers);
  for (const { name, entries } of ledger.readers.values()) {
    for (const entry of entries) {
      if (entry.type === "told" && entry.atMs > sinceMs) left.delete(`${name} ${entry.channel}`);
    }
  }
  return [...left];
}
