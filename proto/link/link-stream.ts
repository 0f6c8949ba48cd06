/**
 * The transport of a link: one ordered, reliable, bidirectional stream of batches. Both ends of the link
 * are written against this port; `grpc-link-stream.ts` is the stream between processes and
 * `loopback-link-stream.ts` the one inside the one-process gateway.
 */
export interface LinkStream {
  /** Sends one batch. False: the transport is full; wait for `drained` before sending more. */
  send(batch: Uint8Array): boolean;
  /** Must be set before the first batch can arrive. Each event has one listener, set once. */
  listen(listener: LinkStreamListener): void;
  /** Ends this side after what was sent; the other side sees `closed`. */
  end(): void;
  /** Ends both sides at once; what is under way may be lost. */
  destroy(reason: string): void;
}

export interface LinkStreamListener {
  batch(batch: Uint8Array): void;
  drained(): void;
  /** Exactly once, however the stream ended. */
  closed(reason: string): void;
}
