import { expect, it } from "vitest";
import { MemoryResumableSessions } from "./resumable-sessions-memory.js";
import { describeResumableSessions } from "./resumable-sessions.contract.js";

describeResumableSessions("resumable sessions in memory", async (options) => ({
  store: new MemoryResumableSessions(options),
  close: async () => undefined,
}));

it("resumable sessions in memory are swept when their time is over", async () => {
  let nowMs = 1_000_000;
  const store = new MemoryResumableSessions({ clock: { nowUs: () => nowMs * 1000 }, ttlMs: 1000 });
  const save = (userId: string) =>
    store.save({
      app: "app",
      userId,
      sessionId: "s1",
      generation: 1,
      isGenerationConfirmed: false,
      connectionId: "c1",
      homeStampUs: 1,
      cursors: new Map(),
      isWhole: true,
    });
  await save("u1");
  nowMs += 60_000;
  await save("u2");
  expect(store.size).toBe(1);
});
