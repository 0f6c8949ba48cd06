/**
 * Sends the locations of one worker's senders in turn, evenly, whatever comes back: an open loop. What a stall
 * left undone is made up for at once, and its length is told.
 */
import type { Seat } from "./dialect.js";
import { wireNowUs } from "./wire-time.js";

export interface SendingOrder {
  /** By this worker. */
  readonly perSecond: number;
  /** Wire times: of the first location, of the first that counts, and the end. */
  readonly startUs: number;
  readonly fromUs: number;
  readonly untilUs: number;
}

export interface SendingAnswer {
  /** Of those that count. */
  readonly sent: number;
  /** How many deliveries they should make. */
  readonly expected: number;
  /** How late the latest was sent, of those that count. */
  readonly maxLateMs: number;
}

interface Sender {
  readonly seat: Seat;
  /** The wire time of what was sent, or -1. */
  sendLocation(): number;
}

const STEP_MS = 1;
const US_PER_SECOND = 1_000_000;

export function sendLocations(senders: readonly Sender[], order: SendingOrder): Promise<SendingAnswer> {
  const { perSecond, startUs, fromUs, untilUs } = order;
  const usEach = US_PER_SECOND / perSecond;
  const total = senders.length === 0 ? 0 : Math.ceil((untilUs - startUs) / usEach);
  let done = 0;
  let sent = 0;
  let expected = 0;
  let maxLateUs = 0;
  const sendOne = (): void => {
    const sender = senders[done % senders.length];
    const dueUs = startUs + done * usEach;
    done += 1;
    const sentUs = sender?.sendLocation() ?? -1;
    if (sender === undefined || sentUs < fromUs) return;
    sent += 1;
    expected += sender.seat.roomSize;
    maxLateUs = Math.max(maxLateUs, sentUs - dueUs);
  };
  return new Promise((resolve) => {
    const step = (): void => {
      const due = Math.min(total, Math.floor((wireNowUs() - startUs) / usEach) + 1);
      while (done < due) sendOne();
      if (done < total) setTimeout(step, STEP_MS);
      else resolve({ sent, expected, maxLateMs: maxLateUs / 1000 });
    };
    step();
  });
}
