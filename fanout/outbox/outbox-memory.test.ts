/** The memory outbox: the contract. */
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { MemoryOutbox } from "./outbox-memory.js";
import { BOUND, describeOutbox } from "./outbox.contract.js";

describeOutbox("the outbox in memory", async () => {
  const channels = new MemoryChannels();
  const broker = new MemoryBroker({ channels, outboxBound: BOUND });
  return {
    broker,
    outbox: async () => new MemoryOutbox(channels.outbox),
    close: () => broker.close(),
  };
});
