/**
 * All links of a fanout: takes new streams, keeps the leases of the edges behind them, answers their
 * status, and drains: tells the edges to take their sessions elsewhere and waits until they have.
 */
import { randomUUID } from "node:crypto";
import { PROCESS_PACE } from "#proto/flush-pace.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import type { Dependency, FanoutStatus } from "#proto/gen/realtime/link/v1/link.js";
import type { SessionHost } from "#fanout/session/session-host.js";
import type { SessionRegistry } from "#fanout/session/session-registry.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Logger } from "../fanout-logger.js";
import type { StoreClock } from "../store-clock.js";
import { FanoutLink } from "./fanout-link.js";

export interface LinkHostOptions {
  readonly fanoutId: string;
  readonly version: string;
  readonly sessions: SessionHost;
  readonly registry: SessionRegistry;
  readonly clock: StoreClock;
  readonly counters: FanoutCounters;
  readonly logger: Logger;
  readonly nowMs: () => number;
  readonly dependencies: () => readonly Dependency[];
  /** Whether new sessions may begin: the store is there. */
  readonly accepting: () => boolean;
}

const TICK_MS = 1000;
const LEASE_RENEWAL_MS = 5000;
export const EDGE_LEASE_MS = 15_000;
const DRAIN_POLL_MS = 20;

export class LinkHost {
  readonly #options: LinkHostOptions;
  readonly #incarnation = randomUUID();
  readonly #links = new Set<FanoutLink>();
  readonly #timers: NodeJS.Timeout[];
  #isDraining = false;

  constructor(options: LinkHostOptions) {
    this.#options = options;
    this.#timers = [
      setInterval(() => this.#tick(), TICK_MS).unref(),
      setInterval(() => this.#renewLeases(), LEASE_RENEWAL_MS).unref(),
    ];
  }

  get links(): number {
    return this.#links.size;
  }

  get queuedBytes(): number {
    let sum = 0;
    for (const link of this.#links) sum += link.queuedBytes;
    return sum;
  }

  /** Takes a stream that an edge has opened. */
  accept(stream: LinkStream): void {
    const { sessions, counters } = this.#options;
    if (this.#isDraining) {
      // An edge would bring its sessions back before it heard that they must go.
      stream.listen({ batch: () => undefined, drained: () => undefined, closed: () => undefined });
      stream.destroy("this fanout ends");
      return;
    }
    const link = new FanoutLink({
      stream,
      pace: PROCESS_PACE,
      fanoutId: this.#options.fanoutId,
      version: this.#options.version,
      incarnation: this.#incarnation,
      counters,
      logger: this.#options.logger,
      nowMs: this.#options.nowMs,
      listener: {
        greeted: (greeted) => this.#greeted(greeted),
        open: (from, open) => sessions.open(from, open),
        frame: (from, frame) => sessions.frame(from, frame),
        confirm: (from, confirm) => sessions.confirm(from, confirm),
        close: (from, close) => sessions.close(from, close),
        release: (from, number) => sessions.release(from, number),
        verified: (from, verified) => sessions.verified(from, verified),
        status: () => this.#status(),
        ended: (ended) => {
          this.#links.delete(ended);
          sessions.linkEnded(ended);
        },
      },
    });
    this.#links.add(link);
  }

  /** A dependency came or went: edges hear it at once. */
  tellStatus(): void {
    for (const link of this.#links) link.tellStatus();
  }

  /** Resolves when every session lives elsewhere, or the time is over; then the links end. */
  async drain(withinMs: number): Promise<void> {
    this.#isDraining = true;
    for (const link of this.#links) link.send({ $case: "drain", value: { withinMs } });
    const { nowMs, sessions } = this.#options;
    const deadline = nowMs() + withinMs;
    while (sessions.sessions > 0 && nowMs() < deadline) {
      await new Promise((resolve) => setTimeout(resolve, DRAIN_POLL_MS));
    }
    for (const link of this.#links) link.end();
  }

  stop(): void {
    this.#isDraining = true;
    for (const timer of this.#timers) clearInterval(timer);
    for (const link of this.#links) link.destroy("the fanout ends");
  }

  #greeted(link: FanoutLink): void {
    this.#renew(link);
    // It was opened before the drain began, and says hello after it.
    if (this.#isDraining) link.send({ $case: "drain", value: { withinMs: 0 } });
  }

  #status(): Omit<FanoutStatus, "sequence"> {
    const { sessions, clock, dependencies, accepting } = this.#options;
    return {
      sessions: sessions.sessions,
      onlineUsers: sessions.users,
      dependencies: [...dependencies()],
      storeTimeUs: clock.nowUs(),
      accepting: accepting() && !this.#isDraining,
    };
  }

  #tick(): void {
    for (const link of this.#links) link.tick();
  }

  #renewLeases(): void {
    for (const link of this.#links) if (link.isOpen) this.#renew(link);
  }

  #renew(link: FanoutLink): void {
    this.#options.registry
      .renewEdge(link.edgeIncarnation, EDGE_LEASE_MS)
      .catch(() => (this.#options.counters.storeFailures += 1));
  }
}
