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

/** What a record asks for. */
export interface RecordWork {
  /** What it reads or changes: of two records of a partition that touch the same, the later waits for the earlier. */
  readonly touches: readonly string[];
  /** May be called again after a failure. */
  readonly run: () => Promise<void>;
}

/** Tells what a record asks for, and does nothing yet. Never throws: `run` does. */
export type RecordHandler = (record: SourceRecord) => RecordWork;

/** For a handler to which all records of a partition touch the same. */
export function inOrder(handle: (record: SourceRecord) => Promise<void>): RecordHandler {
  return (record) => ({ touches: ["the partition"], run: () => handle(record) });
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
   * Hands every record to the handler, those of a partition that touch the same in order, and commits it after it
   * and all before it were done. A handler that throws UnreadableRecord sends it to the DLQ; any other failure
   * holds the partition's offset and tries the same record again with backoff. Resolves when consuming has begun.
   */
  start(handler: RecordHandler): Promise<void>;
  status(): EventSourceStatus;
  /** Finishes the records in hand, commits and leaves the group. */
  stop(): Promise<void>;
}
