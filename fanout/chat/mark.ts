/**
 * How far a user has got with the messages of a channel: a mark that only grows. All messages up to a number, and
 * single ones above it: one's own messages, and receipts for one message. What closes the gap moves the mark.
 * Pure; the store in Redis does the same in `lua/raise-marks.lua`, one contract suite holds for both.
 */
export interface Mark {
  readonly upTo: number;
  /** Growing, none of them next to `upTo`; at most MAX_SINGLES. */
  readonly singles: readonly number[];
}

/** One more closes the lowest gap: who has that many messages behind what they have not seen has passed it. */
export const MAX_SINGLES = 64;

export const NO_MARK: Mark = { upTo: 0, singles: [] };

export interface Raise {
  readonly number: number;
  /** All earlier messages too. */
  readonly upTo: boolean;
}

export function raise(mark: Mark, { number, upTo }: Raise): Mark {
  if (number <= mark.upTo || (!upTo && mark.singles.includes(number))) return mark;
  if (upTo) return closed(number, mark.singles);
  const singles = [...mark.singles, number].sort((left, right) => left - right);
  const [lowest = 0] = singles;
  return singles.length > MAX_SINGLES ? closed(lowest, singles) : closed(mark.upTo, singles);
}

/** How many messages are marked. */
export function marked({ upTo, singles }: Mark): number {
  return upTo + singles.length;
}

/** "12 14 17": up to 12, and 14 and 17. */
export function readMark(text: string): Mark {
  const [upTo = 0, ...singles] = text === "" ? [] : text.split(" ").map(Number);
  return { upTo, singles };
}

/** Singles at or below the mark are in it, those next to it move it. */
function closed(from: number, singles: readonly number[]): Mark {
  let upTo = from;
  let index = 0;
  for (; index < singles.length; index++) {
    const single = singles[index] ?? 0;
    if (single > upTo + 1) break;
    upTo = Math.max(upTo, single);
  }
  return { upTo, singles: singles.slice(index) };
}
