/** Revocations in memory: the contract. */
import { MemoryRevocationStore } from "./revocation-store-memory.js";
import { describeRevocationStore, MAX_IN_CONTRACT } from "./revocation-store.contract.js";

describeRevocationStore("the revocation store in memory", async () => {
  let current = new MemoryRevocationStore({ maxRevocations: MAX_IN_CONTRACT });
  const store = {
    add: (...args: Parameters<MemoryRevocationStore["add"]>) => current.add(...args),
    since: (...args: Parameters<MemoryRevocationStore["since"]>) => current.since(...args),
    listen: (...args: Parameters<MemoryRevocationStore["listen"]>) => current.listen(...args),
    close: () => current.close(),
  };
  return {
    store,
    elsewhere: store,
    empty: async () => void (current = new MemoryRevocationStore({ maxRevocations: MAX_IN_CONTRACT })),
    close: async () => current.close(),
  };
});
