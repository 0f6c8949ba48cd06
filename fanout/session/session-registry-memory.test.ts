/** The session registry in memory: the contract, and how it forgets. */
import { expect, it } from "vitest";
import { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { MemorySessionRegistry } from "./session-registry-memory.js";
import { describeSessionRegistry } from "./session-registry.contract.js";

describeSessionRegistry("the session registry in memory", async () => ({
  registry: new MemorySessionRegistry(),
  close: async () => undefined,
}));

it("sweeps records a while after their edge is gone", async () => {
  let nowMs = 1_000_000;
  const registry = new MemorySessionRegistry({ clock: { nowUs: () => nowMs * 1000 } });
  const record = SessionRecord.fromPartial({
    app: "app",
    userId: "u1",
    connectionId: "c1",
    edgeIncarnation: "e1",
  });
  await registry.renewEdge("e1", 1_000);
  await registry.put(record);
  nowMs += 1_000;
  expect(await registry.ofUser("app", "u1")).toEqual([]);
  expect(registry.size).toBe(1);
  nowMs += 60_000;
  await registry.put({ ...record, userId: "u2" });
  expect(registry.size).toBe(1);
});
