/**
 * The event sink port: what the gateway tells other services. Implementations: `event-sink-kafka.ts`,
 * and `event-bus-memory.ts`.
 */
export interface SinkRecord {
  readonly topic: string;
  /** Records of one key keep their order. */
  readonly key: string;
  readonly value: Uint8Array;
  readonly headers: Readonly<Record<string, string>>;
}

export interface EventSink {
  /** Resolves when all replicas in sync have the records (`acks=all`); fails with `unavailable` otherwise. */
  send(records: readonly SinkRecord[]): Promise<void>;
  close(): Promise<void>;
}
