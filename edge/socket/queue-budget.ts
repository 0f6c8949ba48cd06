/**
 * The bound over everything that an edge queues for slow sockets: above it, the sockets with the largest
 * queues are given up first. Only writers that hold something back are looked at.
 */
import type { SocketWriter } from "./socket-writer.js";

export class QueueBudget {
  readonly backlogged = new Set<SocketWriter>();

  constructor(private readonly maxBytes: number) {}

  get queuedBytes(): number {
    let total = 0;
    for (const writer of this.backlogged) total += writer.queuedBytes;
    return total;
  }

  check(): void {
    let total = this.queuedBytes;
    if (total <= this.maxBytes) return;
    const largestFirst = [...this.backlogged].sort((left, right) => right.queuedBytes - left.queuedBytes);
    for (const writer of largestFirst) {
      if (total <= this.maxBytes) break;
      total -= writer.queuedBytes;
      writer.giveUp();
    }
  }
}
