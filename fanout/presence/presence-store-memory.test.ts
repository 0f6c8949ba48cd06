import { expect, it } from "vitest";
import { MemoryPresenceStore } from "./presence-store-memory.js";
import { describeChannelMembers } from "./channel-members.contract.js";
import { describePresenceStore, type MakePresenceStore } from "./presence-store.contract.js";

const make: MakePresenceStore = async (options) => ({
  store: new MemoryPresenceStore(options),
  close: async () => undefined,
});

describePresenceStore("presence in memory", make);
describeChannelMembers("presence in memory", make);

it("presence in memory forgets who was last seen long ago", async () => {
  let nowMs = 1_000_000;
  const store = new MemoryPresenceStore({ clock: { nowUs: () => nowMs * 1000 }, lastSeenTtlMs: 100_000 });
  const connection = (userId: string) => ({
    app: "app",
    userId,
    connectionId: "c",
    generation: 1,
    place: "p",
  });
  await store.connect(connection("u1"));
  await store.disconnect(connection("u1"), 0);
  await store.connect(connection("u2"));
  nowMs += 100_000;
  await store.connect(connection("u3"));
  expect(store.size.users).toBe(2);
  expect(await store.presences("app", ["u1", "u2"])).toMatchObject([{ lastSeenMs: 0 }, { isOnline: true }]);
});
