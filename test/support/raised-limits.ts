/**
 * Rate limits for tests and benchmarks that send as one user what many users would send: raised beyond what they
 * send, not off, so that the same code runs as in production. What the limits do has tests of its own.
 */
import type { RateLimits } from "#fanout/limits/rate-limits.js";

const RAISED = { count: 10_000_000, windowMs: 60_000 };
const RAISED_TEXT = `${RAISED.count}/60s`;

export const RAISED_RATE_LIMITS: RateLimits = {
  byClass: { general: RAISED, location: RAISED, chat: RAISED, ping: RAISED },
  byRole: new Map(),
  closeAfter: RAISED,
};

/** The same as variables of a process. */
export const RAISED_RATE_LIMIT_VARIABLES: Readonly<Record<string, string>> = {
  RATE_LIMIT_GENERAL: RAISED_TEXT,
  RATE_LIMIT_LOCATION: RAISED_TEXT,
  RATE_LIMIT_CHAT: RAISED_TEXT,
  RATE_LIMIT_PING: RAISED_TEXT,
};
