/**
 * The bound over everything that an edge queues for slow sockets: above it, the sockets with the largest
 * queues are given up first. Only writers that hold something back are looked at.
 */
import type { SocketWriter } from "./socket-writer.js";

export class QueueBudget {
  readonly backlogged = new Set<SocketWriter>();
  /** As of the last check. */
  queuedBytes = 0;

  constructor(private readonly maxBytes: number) {}

  check(): void {
    let total = 0;
    for (const writer of this.backlogged) total += writer.queuedBytes;
    this.queuedBytes = total;
    if (total <= this.maxBytes) return;
    const largestFirst = [...this.backlogged].sort((left, right) => right.queuedBytes - left.queuedBytes);
    for (const writer of largestFirst) {
      if (total <= this.maxBytes) break;
      total -= writer.queuedBytes;
      writer.giveUp();
    }
    this.queuedBytes = total;
  }
}
