/**
 * A backend that publishes durable events to one channel, one after the other, through whatever fanout
 * answers: a call that fails is made again elsewhere with the same idempotency key until the outcome is known
 * or the time is over. Sure refusals are those of the request itself; all else may have been stored.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { CallFailed, type ApiClient } from "#test/contract/api-client.js";
import type { Cluster } from "#test/e2e/cluster.js";
import type { Ledger, LedgerPosition, Write, WriteOutcome } from "./ledger.js";
import type { Random } from "#test/support/random.js";

/** The statuses that say that the request itself is wrong: INVALID_ARGUMENT, NOT_FOUND, PERMISSION_DENIED, … */
const SURE_STATUSES = new Set([3, 5, 7, 12, 16]);
/** Error codes of an item that say that nothing was stored. */
export const SURE_REFUSALS: ReadonlySet<string> = new Set([
  "unauthenticated",
  "permission_denied",
  "invalid_argument",
  "not_found",
  "conflict",
  "payload_too_large",
  "unsupported",
]);

const CALL_TIMEOUT_MS = 1000;
/** One that did not answer is asked last for so long. */
const SUSPECT_MS = 2000;
const RETRY_MS = 50;

/** The APIs that a backend may call. */
export interface Apis {
  readonly size: number;
  at(index: number): Pick<ApiClient, "publish">;
  /** Until when each that did not answer is asked last, by everybody. */
  readonly suspectUntilMs: Map<number, number>;
}

/** The APIs of a cluster's fanouts as they are now: one that was started again has another port. */
export class ApiRing implements Apis {
  readonly suspectUntilMs = new Map<number, number>();
  readonly #clients = new Map<number, { readonly pid: number; readonly api: ApiClient }>();

  constructor(private readonly cluster: Cluster) {}

  get size(): number {
    return this.cluster.fanouts.length;
  }

  at(fanout: number): ApiClient {
    const pid = this.cluster.fanouts[fanout]?.pid ?? 0;
    const known = this.#clients.get(fanout);
    if (known?.pid === pid) return known.api;
    const api = this.cluster.api(fanout);
    this.#clients.set(fanout, { pid, api });
    return api;
  }
}

export interface ApiWriterOptions {
  readonly name: string;
  readonly app: string;
  readonly channel: string;
  readonly readers: ReadonlySet<string>;
  readonly apis: Apis;
  readonly ledger: Ledger;
  readonly random: Random;
  /** How long the outcome of a write is asked for. */
  readonly deadlineMs: number;
}

interface PublishResult {
  readonly outcome: string;
  readonly position: LedgerPosition | null;
  readonly event_id: string;
  readonly error: { readonly code: string } | null;
}

export class ApiWriter {
  readonly #options: ApiWriterOptions;
  #sequence = 0;
  #working: Promise<void> | undefined;

  constructor(options: ApiWriterOptions) {
    this.#options = options;
  }

  /** False while the last write has no outcome yet. */
  write(): boolean {
    if (this.#working !== undefined) return false;
    this.#working = this.#write().finally(() => (this.#working = undefined));
    return true;
  }

  async settled(): Promise<void> {
    await this.#working;
  }

  async #write(): Promise<void> {
    const { name, channel, readers, ledger, deadlineMs } = this.#options;
    this.#sequence += 1;
    const write = ledger.began({
      ...{ payload: `${name}-${this.#sequence}`, source: "api", writer: name },
      ...{ channel, readers, sequence: this.#sequence, beganMs: performance.now() },
    });
    let order: number[] = [];
    for (let attempt = 0; performance.now() - write.beganMs < deadlineMs; attempt += 1) {
      if (attempt > 0 && order.length === 0) await sleep(RETRY_MS);
      if (order.length === 0) order = this.#inOrder();
      const outcome = await this.#attempt(write, order.shift() ?? 0);
      // A refusal says nothing about an earlier attempt.
      if (attempt > 0 && outcome.kind === "refused") return;
      ledger.ended(write, outcome, performance.now());
      if (outcome.kind !== "unknown") return;
    }
  }

  #inOrder(): number[] {
    const { random, apis } = this.#options;
    const nowMs = performance.now();
    const isSuspect = (api: number): number => Number((apis.suspectUntilMs.get(api) ?? 0) > nowMs);
    return random
      .shuffle(Array.from({ length: apis.size }, (_, api) => api))
      .sort((left, right) => isSuspect(left) - isSuspect(right));
  }

  async #attempt(write: Write, api: number): Promise<WriteOutcome> {
    const { app, channel, apis } = this.#options;
    const item = {
      ...{ app, channel, idempotency_key: write.payload },
      event: { order_status: { order_id: channel.slice(channel.indexOf(":") + 1), status: write.payload } },
    };
    try {
      const { response } = await apis.at(api).publish([item], { timeoutMs: CALL_TIMEOUT_MS });
      const [result] = response["results"] as readonly PublishResult[];
      return result === undefined ? { kind: "unknown", reason: "no result" } : outcomeOf(result);
    } catch (error) {
      const status = error instanceof CallFailed ? error.code : undefined;
      if (status !== undefined && SURE_STATUSES.has(status)) return { kind: "refused", code: String(error) };
      apis.suspectUntilMs.set(api, performance.now() + SUSPECT_MS);
      return { kind: "unknown", reason: String(error) };
    }
  }
}

function outcomeOf({ outcome, position, event_id: eventId, error }: PublishResult): WriteOutcome {
  if (error !== null) {
    const code = error.code.replace("ERROR_CODE_", "").toLowerCase();
    return SURE_REFUSALS.has(code) ? { kind: "refused", code } : { kind: "unknown", reason: code };
  }
  if (position === null) return { kind: "unknown", reason: outcome };
  const { epoch, offset, tag } = position;
  return { kind: "acknowledged", position: { epoch, offset, tag }, eventId };
}
