import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { StalledSink } from "#test/support/stalled-sink.js";
import { EdgeCounters } from "../edge-counters.js";
import { QueueBudget } from "./queue-budget.js";
import { SocketWriter, WriteTurn } from "./socket-writer.js";

const KIB = 1024;

/** Sockets whose clients do not read, with so much queued for each. */
async function slowSockets(budget: QueueBudget, queuedKib: readonly number[]) {
  const givenUp: number[] = [];
  const turns = new WriteTurn();
  const sockets = queuedKib.map((kib) => {
    const socket = new StalledSink();
    socket.stall();
    const writer: SocketWriter = new SocketWriter({
      socket,
      turn: turns,
      limits: { conflateBytes: 1024 * KIB, closeBytes: 1024 * KIB },
      counters: new EdgeCounters(),
      backlogged: budget.backlogged,
      onSlow: () => {
        givenUp.push(kib);
        writer.end();
      },
    });
    writer.write(Buffer.alloc(kib * KIB));
    return { socket, writer };
  });
  await turn();
  return { sockets, givenUp };
}

describe("QueueBudget", () => {
  it("gives nobody up while everything together is within the bound", async () => {
    const budget = new QueueBudget(300 * KIB);
    const { givenUp } = await slowSockets(budget, [100, 100, 100]);
    budget.check();
    expect(givenUp).toEqual([]);
    expect(budget.queuedBytes).toBe(300 * KIB);
  });

  it("gives up the largest queues first, and no more than it must", async () => {
    const budget = new QueueBudget(150 * KIB);
    const { givenUp } = await slowSockets(budget, [30, 200, 50, 100, 40]);
    budget.check();
    expect(givenUp).toEqual([200, 100]);
    expect(budget.queuedBytes).toBe(120 * KIB);
    budget.check();
    expect(givenUp).toEqual([200, 100]);
  });

  it("forgets sockets that have caught up", async () => {
    const budget = new QueueBudget(1);
    const { sockets, givenUp } = await slowSockets(budget, [100]);
    for (const { socket } of sockets) socket.flow();
    await turn();
    budget.check();
    expect(givenUp).toEqual([]);
    expect(budget.backlogged.size).toBe(0);
    expect(budget.queuedBytes).toBe(0);
  });
});
