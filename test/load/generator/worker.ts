/**
 * A worker process of the load generator: does what its parent asks over the process's channel, with one crowd
 * of clients, and ends with its parent.
 */
import type { Dialect, Endpoint } from "../contestant.js";
import { Crowd, type GatheringAnswer, type GatheringOrder } from "./crowd.js";
import type { Seat } from "./dialect.js";
import type { HistogramParts } from "./latency-histogram.js";
import type { SendingAnswer, SendingOrder } from "./location-sender.js";
import type { WorkerAnswer, WorkerRequest } from "./worker-messages.js";

export interface WorkerMethods {
  /** A new crowd in the place of the one before. */
  assemble(order: { readonly dialect: Dialect; readonly endpoints: readonly Endpoint[] }): void;
  seat(seats: readonly Seat[]): void;
  gather(order: GatheringOrder): Promise<GatheringAnswer>;
  /** Drops all, and brings them back as fast as they are let in. */
  dropAndGather(order: { readonly timeoutMs: number }): Promise<GatheringAnswer>;
  /** Counts from zero what is sent from this wire time on. */
  beginCounting(order: { readonly fromUs: number }): void;
  send(order: SendingOrder): Promise<SendingAnswer>;
  progress(): { readonly delivered: number };
  report(): WorkerReport;
  disconnect(): void;
}

export interface WorkerReport {
  readonly delivered: number;
  readonly repeated: number;
  readonly latencies: HistogramParts;
  /** Clients that are not in their rooms. */
  readonly missing: number;
  /** Since counting began. */
  readonly problems: Readonly<Record<string, number>>;
}

/** Faster than this machine can. */
const AT_ONCE = 1e9;

let current: Crowd | undefined;

function crowd(): Crowd {
  if (current === undefined) throw new Error("no crowd is assembled");
  return current;
}

const methods: WorkerMethods = {
  assemble: ({ dialect, endpoints }) => {
    current?.drop();
    current = new Crowd(dialect, endpoints);
  },
  seat: (seats) => crowd().seat(seats),
  gather: (order) => crowd().gather(order),
  dropAndGather: ({ timeoutMs }) => {
    crowd().drop();
    return crowd().gather({ perSecond: AT_ONCE, timeoutMs });
  },
  beginCounting: ({ fromUs }) => {
    crowd().deliveries.begin(fromUs);
    crowd().problems.clear();
  },
  send: (order) => crowd().send(order),
  progress: () => ({ delivered: crowd().deliveries.delivered }),
  report: () => {
    const { deliveries, missing, problems } = crowd();
    const { delivered, repeated, latencies } = deliveries;
    return { delivered, repeated, latencies: latencies.toParts(), missing, problems: problems.counts };
  },
  disconnect: () => current?.drop(),
};

async function answer({ id, method, order }: WorkerRequest): Promise<WorkerAnswer> {
  try {
    // The parent asks by the same table of methods.
    const call = methods[method] as (order: unknown) => unknown;
    return { id, answer: await call(order) };
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

process.on("message", (request: WorkerRequest) => {
  void answer(request).then((message) => process.send?.(message));
});
process.on("disconnect", () => process.exit());
