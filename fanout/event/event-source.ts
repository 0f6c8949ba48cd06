/**
 * The event source port: events of other services. Implementations: `event-source-kafka.ts`, and
 * `event-bus-memory.ts` (in process, for the embedded default).
 */
export interface SourceRecord {
  readonly topic: string;
  readonly partition: number;
  /** The record's place in its partition. */
  readonly offset: number;
  readonly key: string | undefined;
  readonly value: Uint8Array;
  /** Names in lower case; of a name that comes twice, the last. */
  readonly headers: Readonly<Record<string, string>>;
}

/** Thrown by a handler: the record can never be read. It goes to `<topic>.dlq` with the reason. */
export class UnreadableRecord extends Error {
  override readonly name = "UnreadableRecord";
}

/** How the way from the bus does, for `/health` and `/ready`. */
export interface EventSourceStatus {
  readonly isConnected: boolean;
  /** Since it was last connected. */
  readonly reconnectAttempts: number;
}

export interface EventSource {
  /**
   * Hands every record to the handler, in order within a partition, and commits it after the handler
   * resolved. A handler that throws UnreadableRecord sends it to the DLQ; any other failure pauses the
   * partition and tries the same record again with backoff. Resolves when consuming has begun.
   */
  start(handler: (record: SourceRecord) => Promise<void>): Promise<void>;
  status(): EventSourceStatus;
  /** Finishes the record in hand, commits and leaves the group. */
  stop(): Promise<void>;
}
