/**
 * What an edge counts: plain integers, cheap on the path of a frame. The service publishes them as
 * metrics when it is scraped.
 */
export class EdgeCounters {
  connectionsOpened = 0;
  readonly connectionsClosed = new Map<string, number>();
  readonly handshakesRefused = new Map<string, number>();
  readonly authenticationErrors = new Map<string, number>();
  /** Sockets that were told that their token ends soon. */
  tokenWarnings = 0;
  framesReceived = 0;
  bytesReceived = 0;
  framesWritten = 0;
  bytesWritten = 0;
  socketWrites = 0;
  framesConflated = 0;
  framesDropped = 0;
  /** Deliveries to groups that exist no more: late frames of an old home. */
  staleDeliveries = 0;
  socketsPaused = 0;
  linksOpened = 0;
  readonly linksLost = new Map<string, number>();
  sessionsMoved = 0;
  sessionsRebalanced = 0;
  poisonFrames = 0;
  /** How often the edge suspected itself because most fanouts looked dead. */
  selfSuspicions = 0;
  /** How long connections that ended had been open, in milliseconds. */
  connectionDurationMs: { observe(valueMs: number): void } | undefined;
  /** How long handshakes had waited for their turn, of those that had to, in milliseconds. */
  handshakeWaitMs: { observe(valueMs: number): void } | undefined;
  /** From a fanout's taking an event to its write here, in microseconds. */
  deliveryLatencyUs: { observe(valueUs: number): void } | undefined;
}

/** Counts one more under a label of a closed set. */
export function countOne(counts: Map<string, number>, label: string): void {
  counts.set(label, (counts.get(label) ?? 0) + 1);
}
