/** Work on many channels of one session, a few at a time: others have theirs to enter too. */

/** So many channels of one session are entered at once. */
const AT_ONCE = 8;

/** All of them end before it is said how it went: none goes on behind an answer. After a failure no more begin. */
export async function fewAtATime<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.values();
  const failures: unknown[] = [];
  const worker = async (): Promise<void> => {
    for (const item of waiting) {
      try {
        await work(item);
      } catch (thrown) {
        failures.push(thrown);
      }
      if (failures.length > 0) return;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  if (failures.length > 0) throw failures[0];
}
