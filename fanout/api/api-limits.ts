/**
 * The bounds of the API server. Each is a number that an operator may have to reason about; what happens
 * at it is said beside it.
 */
export interface ApiLimits {
  /** Of one request. Beyond it the call ends with RESOURCE_EXHAUSTED before the rest is read. */
  readonly maxMessageBytes: number;
  /** Calls at once on one connection; clients queue the others themselves. */
  readonly maxStreamsPerConnection: number;
  /** Calls of backend services at once, over all connections. Beyond it: UNAVAILABLE with a retry hint. */
  readonly maxCallsInFlight: number;
  /** Streams at once, over all connections; they stay, so they do not take the place of calls. Beyond it: as for calls. */
  readonly maxPublishStreams: number;
  /** Health calls at once: they need no token, so they have a bound of their own. */
  readonly maxHealthCallsInFlight: number;
  /** A call without a deadline, or with a later one, gets this one; so has each request of a stream. */
  readonly maxCallMs: number;
  /** Idle connections are pinged so often … */
  readonly keepaliveTimeMs: number;
  /** … and dropped when no answer comes for so long. */
  readonly keepaliveTimeoutMs: number;
}

export const DEFAULT_API_LIMITS: ApiLimits = {
  maxMessageBytes: 4 * 1024 * 1024,
  maxStreamsPerConnection: 256,
  maxCallsInFlight: 512,
  maxPublishStreams: 64,
  maxHealthCallsInFlight: 64,
  maxCallMs: 30_000,
  keepaliveTimeMs: 30_000,
  keepaliveTimeoutMs: 5_000,
};
