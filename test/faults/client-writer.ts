/**
 * An app that publishes durable events of its own (`custom`) to one channel, one after the other. A frame is
 * sent again with the same request id after a return of its device and after an answer that leaves the outcome
 * open, until the outcome is known or the time is over.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { SURE_REFUSALS } from "./api-writer.js";
import type { Heard } from "./app-frames.js";
import type { Device } from "./device.js";
import type { Ledger, Write, WriteOutcome } from "./ledger.js";

export interface ClientWriterOptions {
  readonly name: string;
  readonly channel: string;
  readonly readers: ReadonlySet<string>;
  readonly device: Device;
  readonly ledger: Ledger;
  readonly deadlineMs: number;
  /** The apps' name for the events; some may be configured to go to Kafka too. */
  readonly type: string;
}

const RETRY_MS = 100;

export class ClientWriter {
  readonly #options: ClientWriterOptions;
  #sequence = 0;
  #working: Promise<void> | undefined;

  constructor(options: ClientWriterOptions) {
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
      ...{ payload: `${name}-${this.#sequence}`, source: "client", writer: name },
      ...{ channel, readers, sequence: this.#sequence, beganMs: performance.now() },
    });
    for (let attempt = 0; ; attempt += 1) {
      const timeoutMs = deadlineMs - (performance.now() - write.beganMs);
      if (timeoutMs <= 0) return;
      const answer = await this.#request(write, timeoutMs);
      const outcome = outcomeOf(answer);
      // A refusal says nothing about an earlier attempt.
      if (attempt > 0 && outcome.kind === "refused") return;
      ledger.ended(write, outcome, performance.now());
      if (outcome.kind !== "unknown") return;
      await sleep(Math.max(RETRY_MS, answer?.type === "error" ? answer.retryAfterMs : 0));
    }
  }

  #request({ payload }: Write, timeoutMs: number): Promise<Heard | undefined> {
    const { device, channel, type } = this.#options;
    const body = { $case: "custom" as const, value: { channel, type, data: { payload } } };
    return device.request(body, { requestId: payload, timeoutMs });
  }
}

function outcomeOf(answer: Heard | undefined): WriteOutcome {
  if (answer?.type === "reply" && answer.position !== undefined) {
    return { kind: "acknowledged", position: answer.position, eventId: answer.id };
  }
  if (answer?.type === "error") {
    const { code } = answer;
    return SURE_REFUSALS.has(code) ? { kind: "refused", code } : { kind: "unknown", reason: code };
  }
  return { kind: "unknown", reason: answer === undefined ? "no answer" : answer.type };
}
