/**
 * The port of noticing that a part of the store lost its data: it was emptied, or came back without. Without it
 * "there is nothing" would be taken for the truth. A store in the process has none: it is lost with the process.
 *
 * Implementation: `redis/partition-sentinels.ts`.
 */
export interface DataLossListener {
  /** What was stored in these partitions is gone. Told once for each loss. */
  lost(partitions: ReadonlySet<number>): void;
  /** Who takes part is complete again by now: who is not known there takes no part. */
  rebuilt(partitions: ReadonlySet<number>): void;
}

export interface DataLossWatch {
  listen(listener: DataLossListener): void;
  /**
   * Resolves after listeners were told of what was lost up to now, with the partitions that could not be looked at:
   * of these nothing is known. @throws GatewayError unavailable where none could.
   */
  check(): Promise<ReadonlySet<number>>;
}
