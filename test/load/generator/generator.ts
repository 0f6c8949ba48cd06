/**
 * The load generator as scenarios see it: clients in worker processes, which hold raw sockets and read frames
 * by hand so that they cost less than what they measure. It tells what was sent, what arrived and how late;
 * what that means is the scenario's to say.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ClientPlan, RunningContestant } from "../contestant.js";
import type { GatheringAnswer } from "./crowd.js";
import { LatencyHistogram, type LatencyMs } from "./latency-histogram.js";
import type { SendingAnswer } from "./location-sender.js";
import { seating } from "./seating.js";
import { describeCounts, Tally } from "./tally.js";
import { wireNowUs } from "./wire-time.js";
import { WorkerProcess } from "./worker-process.js";

export interface LoadResult {
  readonly sent: number;
  readonly delivered: number;
  readonly expected: number;
  readonly lost: number;
  /** Came twice, or behind a later one of the same sender. */
  readonly repeated: number;
  readonly latencyMs: LatencyMs;
  /** In which events were sent. */
  readonly seconds: number;
  /** Clients that are not in their rooms any more. */
  readonly closed: number;
  /** Errors that clients were told, and how sockets ended: each with its count. */
  readonly problems: Readonly<Record<string, number>>;
  /** How late the latest event was sent. */
  readonly maxLateMs: number;
}

export interface Connected {
  readonly seconds: number;
  /** Attempts that failed before a later one was let in, by reason. */
  readonly failedAttempts: Readonly<Record<string, number>>;
}

export interface Returned extends Connected {
  /** Sessions that went on. */
  readonly resumed: number;
  /** Rooms in which nothing was missed by the contestant's own word. */
  readonly recovered: number;
}

/** Between telling the workers and the first location. */
const LEAD_US = 50_000;
const ARRIVAL_TIMEOUT_MS = 3000;
const ARRIVAL_POLL_MS = 20;
const US_PER_SECOND = 1_000_000;
/** Beyond what the pace takes. */
const ENTRY_TIMEOUT_MS = 60_000;
/** Given to a worker in one message, and signed at once. */
const CHUNK = 1000;

interface Measurement {
  readonly sending: readonly SendingAnswer[];
  readonly expected: number;
  readonly seconds: number;
}

export class Generator {
  readonly #workers: readonly WorkerProcess[];
  /** How many senders each worker has. */
  #senders: readonly number[] = [];
  #measuringSinceUs: number | undefined;

  private constructor(workers: readonly WorkerProcess[]) {
    this.#workers = workers;
  }

  static async start({ workers }: { readonly workers: number } = { workers: 2 }): Promise<Generator> {
    return new Generator(await Promise.all(Array.from({ length: workers }, () => WorkerProcess.start())));
  }

  get pids(): readonly number[] {
    return this.#workers.map(({ pid }) => pid);
  }

  /**
   * Connects so many clients a second and brings them into their rooms, where the contestant has let them
   * (`admit`). Who is not let in is tried again; rejects, with the reasons, where somebody is not in 60 s
   * after the last should have been.
   */
  async connect(
    contestant: RunningContestant,
    clients: readonly ClientPlan[],
    { perSecond }: { readonly perSecond: number },
  ): Promise<Connected> {
    const { dialect, endpoints } = contestant;
    const workers = this.#workers;
    const credentials = await credentialsOf(contestant, clients);
    const seats = seating(clients, { workers: workers.length, endpoints: endpoints.length, credentials });
    this.#senders = seats.map((of) => of.filter(({ sender }) => sender > 0).length);
    await this.#each((worker) => worker.ask("assemble", { dialect, endpoints }));
    await this.#each(async (worker, index) => {
      for (const chunk of chunks(seats[index] ?? [])) await worker.ask("seat", chunk);
    });
    const timeoutMs = (clients.length / perSecond) * 1000 + ENTRY_TIMEOUT_MS;
    const answers = await this.#each((worker, index) => {
      const share = (seats[index]?.length ?? 0) / clients.length;
      return worker.ask("gather", { perSecond: perSecond * share, timeoutMs });
    });
    return gathered(answers);
  }

  /** Ends all sockets without a word and comes back at once; resolves when all are in their rooms again. */
  async dropAndReturn({ timeoutMs = 60_000 }: { readonly timeoutMs?: number } = {}): Promise<Returned> {
    const answers = await this.#each((worker) => worker.ask("dropAndGather", { timeoutMs }));
    return gathered(answers);
  }

  /**
   * All senders together send so many locations a second, in turn and evenly; then waits, for 3 s at most,
   * for what is on its way. What is sent in the warm-up is not counted.
   */
  async sendLocations(options: {
    readonly perSecond: number;
    readonly seconds: number;
    readonly warmUpSeconds: number;
  }): Promise<LoadResult> {
    const { perSecond, seconds, warmUpSeconds } = options;
    const senders = this.#senders.reduce((sum, count) => sum + count, 0);
    if (senders === 0) throw new Error("no client that is connected is a sender");
    const startUs = wireNowUs() + LEAD_US;
    const fromUs = startUs + warmUpSeconds * US_PER_SECOND;
    const untilUs = fromUs + seconds * US_PER_SECOND;
    await this.#each((worker) => worker.ask("beginCounting", { fromUs }));
    const sending = await this.#each((worker, index) => {
      const share = (this.#senders[index] ?? 0) / senders;
      // Workers take turns.
      const offsetUs = (index * US_PER_SECOND) / perSecond;
      const order = { perSecond: perSecond * share, startUs: startUs + offsetUs, fromUs, untilUs };
      return worker.ask("send", order);
    });
    const expected = sending.reduce((sum, answer) => sum + answer.expected, 0);
    return this.#result({ sending, expected, seconds });
  }

  /** Counts from here on what is sent, by whomever. */
  async beginMeasuring(): Promise<void> {
    const fromUs = wireNowUs();
    this.#measuringSinceUs = fromUs;
    await this.#each((worker) => worker.ask("beginCounting", { fromUs }));
  }

  /** Waits, for 3 s at most, for what is on its way: so many deliveries since `beginMeasuring` in all. */
  async endMeasuring(expectedDeliveries: number): Promise<LoadResult> {
    const beganUs = this.#measuringSinceUs;
    if (beganUs === undefined) throw new Error("measuring has not begun");
    this.#measuringSinceUs = undefined;
    const seconds = (wireNowUs() - beganUs) / US_PER_SECOND;
    return this.#result({ sending: [], expected: expectedDeliveries, seconds });
  }

  async disconnect(): Promise<void> {
    this.#senders = [];
    await this.#each((worker) => worker.ask("disconnect"));
  }

  async stop(): Promise<void> {
    await this.#each((worker) => worker.stop());
  }

  async #result({ sending, expected, seconds }: Measurement): Promise<LoadResult> {
    await this.#untilArrived(expected);
    const reports = await this.#each((worker) => worker.ask("report"));
    const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
    const histogram = new LatencyHistogram();
    const problems = new Tally();
    for (const report of reports) {
      histogram.addParts(report.latencies);
      problems.addAll(report.problems);
    }
    const delivered = sum(reports.map((report) => report.delivered));
    return {
      ...{ delivered, expected, seconds, lost: expected - delivered },
      sent: sum(sending.map((answer) => answer.sent)),
      repeated: sum(reports.map(({ repeated }) => repeated)),
      latencyMs: histogram.latencyMs,
      closed: sum(reports.map(({ missing }) => missing)),
      problems: problems.counts,
      maxLateMs: Math.max(0, ...sending.map(({ maxLateMs }) => maxLateMs)),
    };
  }

  async #untilArrived(expected: number): Promise<void> {
    const deadlineMs = performance.now() + ARRIVAL_TIMEOUT_MS;
    while (performance.now() < deadlineMs) {
      const answers = await this.#each((worker) => worker.ask("progress"));
      if (answers.reduce((sum, { delivered }) => sum + delivered, 0) >= expected) return;
      await sleep(ARRIVAL_POLL_MS);
    }
  }

  #each<Answer>(ask: (worker: WorkerProcess, index: number) => Promise<Answer>): Promise<Answer[]> {
    return Promise.all(this.#workers.map(ask));
  }
}

async function credentialsOf(
  contestant: RunningContestant,
  clients: readonly ClientPlan[],
): Promise<readonly string[]> {
  const credentials: string[] = [];
  for (const chunk of chunks(clients)) {
    credentials.push(...(await Promise.all(chunk.map((client) => contestant.credentials(client)))));
  }
  return credentials;
}

function* chunks<Item>(items: readonly Item[]): Iterable<readonly Item[]> {
  for (let index = 0; index < items.length; index += CHUNK) yield items.slice(index, index + CHUNK);
}

/** @throws where somebody is missing, with the reasons. */
function gathered(answers: readonly GatheringAnswer[]): Returned {
  const failedAttempts = new Tally();
  for (const answer of answers) failedAttempts.addAll(answer.failedAttempts);
  const sum = (of: (answer: GatheringAnswer) => number): number =>
    answers.reduce((total, answer) => total + of(answer), 0);
  const missing = sum((answer) => answer.missing);
  if (missing > 0) {
    const all = missing + sum((answer) => answer.in);
    throw new Error(
      `${missing} of ${all} clients are not in their rooms: ${describeCounts(failedAttempts.counts)}`,
    );
  }
  return {
    seconds: Math.max(...answers.map(({ lastInMs }) => lastInMs)) / 1000,
    resumed: sum((answer) => answer.resumed),
    recovered: sum((answer) => answer.recovered),
    failedAttempts: failedAttempts.counts,
  };
}
