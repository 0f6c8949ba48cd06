/**
 * Waiting for a thing itself instead of for a time: `waitFor` polls until the probe yields a value
 * and rejects on time-out, naming what it waited for and the probe's last error.
 */
import { setTimeout as sleep } from "node:timers/promises";

export interface WaitOptions {
  /** What is waited for, as the end of "timed out waiting for …". */
  readonly what: string;
  readonly timeoutMs?: number;
  readonly pollMs?: number;
}

/** What a probe answers while there is nothing yet; `null`, `0` and `""` are values. */
export type Pending = undefined | false;

/** Polls `probe` until it yields something other than `undefined` or `false`; a probe that throws is polled again. */
export async function waitFor<Value>(
  probe: () => Value | Pending | Promise<Value | Pending>,
  options: WaitOptions,
): Promise<Exclude<Value, Pending>> {
  const timeoutMs = options.timeoutMs ?? 5_000;
  const deadline = performance.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const value = await within(probe(), deadline - performance.now());
      if (value !== undefined && value !== false) return value as Exclude<Value, Pending>;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (performance.now() >= deadline) break;
    await sleep(options.pollMs ?? 10);
  }
  throw new Error(`timed out after ${timeoutMs} ms waiting for ${options.what}`, { cause: lastError });
}

/** Rejects when `work` takes longer: a probe that hangs must not outlive the time-out. */
export async function within<Value>(work: Value | Promise<Value>, timeoutMs: number): Promise<Value> {
  if (!(work instanceof Promise)) return work;
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`no answer within ${Math.ceil(timeoutMs)} ms`)),
      Math.max(1, timeoutMs),
    );
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
