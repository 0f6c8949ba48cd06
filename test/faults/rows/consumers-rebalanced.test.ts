import { inject, it } from "vitest";
import { OrderEvents } from "../order-events.js";
import { fullOrShort, runScenario } from "../scenario.js";

const EVENTS = fullOrShort(5000, 2000);
const PER_SECOND = fullOrShort(100, 60);
const PHASE_MS = fullOrShort(8000, 4000);
/** A consumer that died is missed by its group only after a time without its heartbeat. */
const DEAD_PHASE_MS = 15_000;

it("a consumer joins, leaves and dies while order events come in: each comes once and in its order", async () => {
  let events: OrderEvents | undefined;
  try {
    await runScenario({
      name: `consumers join, leave and die while ${EVENTS} order events come in`,
      cluster: { env: { FANOUT_ROLES: "serve,relay" } },
      load: { orders: 5, readers: 10, durablePerSecond: 5, locationsPerSecond: 10 },
      prepare: async ({ cluster, ledger, random }) => {
        await cluster.startConsumer("consumer-0");
        const brokers = inject("kafkaBrokers");
        events = await OrderEvents.start({
          cluster,
          brokers,
          ledger,
          random,
          orders: 20,
          readersPerOrder: 3,
        });
      },
      fault: async ({ cluster, notes, breaches, pause }) => {
        const orders = events;
        if (orders === undefined) throw new Error("it was prepared");
        const writing = orders.write(EVENTS, PER_SECOND);
        writing.catch(() => undefined);
        await pause(1000);
        const phases: { readonly name: string; readonly allowedMs: number; readonly fromMs: number }[] = [];
        const begin = (name: string, allowedMs: number): void => {
          phases.push({ name, allowedMs, fromMs: performance.now() });
        };
        begin("joins", 3000);
        const second = await cluster.startConsumer("consumer-1");
        await pause(PHASE_MS);
        begin("joins as the third", 3000);
        const third = await cluster.startConsumer("consumer-2");
        await pause(PHASE_MS);
        begin("leaves by SIGTERM", 3000);
        await second.stop();
        await pause(PHASE_MS);
        begin("dies", 10_000);
        await third.kill();
        await pause(DEAD_PHASE_MS);
        begin("comes back", 3000);
        await cluster.startConsumer("consumer-2");
        await writing;
        await orders.untilRead(60_000);
        orders.settle();
        for (const [index, { name, allowedMs, fromMs }] of phases.entries()) {
          const tookMs = Math.round(orders.slowestMs(fromMs, phases[index + 1]?.fromMs ?? Infinity));
          notes.push(`${name}: ${tookMs} ms`);
          if (tookMs > allowedMs) breaches.push(`a consumer ${name}: ${tookMs} ms, allowed ${allowedMs}`);
        }
      },
      allowed: {},
    });
  } finally {
    await events?.stop();
  }
});
