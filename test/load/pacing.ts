/**
 * Doing something so many times a second, evenly, from one process: what a stall left undone is made up for at
 * once, and every call is awaited at the end; the first that failed rejects the whole.
 */

export interface Pace {
  readonly perSecond: number;
  readonly seconds: number;
  sleep(milliseconds: number): Promise<void>;
}

/** `work` gets the number of its turn, from 1. Resolves with how often it was done. */
export async function paced(pace: Pace, work: (sequence: number) => Promise<void>): Promise<number> {
  const total = Math.round(pace.perSecond * pace.seconds);
  const beganMs = performance.now();
  const running: Promise<void>[] = [];
  let failure: { readonly error: unknown } | undefined;
  for (let done = 0; done < total && failure === undefined;) {
    const elapsedMs = performance.now() - beganMs;
    const due = Math.min(total, Math.floor((elapsedMs * pace.perSecond) / 1000) + 1);
    for (; done < due; done += 1) {
      running.push(work(done + 1).catch((error: unknown) => void (failure ??= { error })));
    }
    const nextMs = (done * 1000) / pace.perSecond - (performance.now() - beganMs);
    if (nextMs > 0) await pace.sleep(nextMs);
  }
  await Promise.all(running);
  if (failure !== undefined) throw failure.error;
  return total;
}
