/**
 * Keeps one link to every fanout that discovery names: connects, connects again with backoff when a link
 * ended, and lets go of addresses that are gone. What the links carry is not its business.
 */
import type { LinkStream } from "#proto/link/link-stream.js";
import { countOne } from "../edge-counters.js";
import { Backoff } from "./backoff.js";
import { EdgeLink, type EdgeLinkListener, type EdgeLinkOptions, type LinkEnd } from "./edge-link.js";
import type { FanoutDiscovery } from "./fanout-discovery.js";

/** Opens a stream to a fanout; it may end at once where nobody listens. */
export type ConnectLink = (address: string) => LinkStream;

export interface LinkPoolOptions extends Omit<EdgeLinkOptions, "stream"> {
  readonly discovery: FanoutDiscovery;
  readonly connect: ConnectLink;
  readonly logger: {
    info(fields: object, message: string): void;
    warn(fields: object, message: string): void;
  };
}

interface Peer {
  readonly address: string;
  readonly backoff: Backoff;
  link: EdgeLink | undefined;
  retry: NodeJS.Timeout | undefined;
  since: number;
  /** Why it was not reached, as last logged: tries in vain are told once, and again for another reason. */
  loggedReason: string;
}

/** A hello that takes longer than this comes from nobody. */
const GREETING_MS = 4000;

export class LinkPool {
  readonly #options: LinkPoolOptions;
  readonly #peers = new Map<string, Peer>();
  #addresses: ReadonlySet<string> = new Set();
  #isStopped = false;

  constructor(options: LinkPoolOptions) {
    this.#options = options;
  }

  start(): void {
    this.#options.discovery.start((addresses) => this.#update(addresses));
  }

  /** Links whose fanout takes sessions. */
  *ready(): Generator<EdgeLink> {
    for (const { link } of this.#peers.values()) if (link?.phase === "ready") yield link;
  }

  *all(): Generator<EdgeLink> {
    for (const { link } of this.#peers.values()) if (link !== undefined) yield link;
  }

  /** Called once a second. */
  tick(connections: number): void {
    for (const peer of this.#peers.values()) {
      peer.link?.tick(connections);
      if (peer.link?.phase === "greeting" && this.#options.nowMs() - peer.since > GREETING_MS) {
        peer.link.destroy("no hello");
      }
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#options.discovery.stop();
    for (const peer of this.#peers.values()) {
      clearTimeout(peer.retry);
      peer.link?.end();
    }
  }

  #update(addresses: readonly string[]): void {
    this.#addresses = new Set(addresses);
    for (const address of addresses) {
      if (this.#peers.has(address)) continue;
      const backoff = new Backoff({ firstMs: 100, maxMs: 2000, provenMs: 10_000, random: Math.random });
      const peer: Peer = { address, backoff, link: undefined, retry: undefined, since: 0, loggedReason: "" };
      this.#peers.set(address, peer);
      this.#connect(peer);
    }
    for (const [address, peer] of this.#peers) {
      // A live link outlasts its address: the fanout itself says when it ends.
      if (this.#addresses.has(address) || isLive(peer.link)) continue;
      clearTimeout(peer.retry);
      this.#peers.delete(address);
      peer.link?.end();
    }
  }

  #connect(peer: Peer): void {
    if (this.#isStopped) return;
    const { listener, counters, logger } = this.#options;
    peer.since = this.#options.nowMs();
    const wrapped: EdgeLinkListener = {
      ...listener,
      ready: (link) => {
        counters.linksOpened += 1;
        logger.info({ fanout: link.name, address: peer.address }, "link ready");
        listener.ready(link);
      },
      draining: (link) => listener.draining(link),
      verify: (link, session, request) => listener.verify(link, session, request),
      refreshed: (session, principal) => listener.refreshed(session, principal),
      released: (link, session) => listener.released(link, session),
      ended: (link, end) => this.#ended(peer, link, end),
    };
    peer.link = new EdgeLink({
      ...this.#options,
      stream: this.#options.connect(peer.address),
      listener: wrapped,
    });
  }

  #ended(peer: Peer, link: EdgeLink, end: LinkEnd): void {
    const { counters, logger, listener, nowMs } = this.#options;
    peer.link = undefined;
    const lastedMs = nowMs() - peer.since;
    if (link.name !== "") {
      countOne(counters.linksLost, end.how);
      logger.warn(
        { fanout: link.name, address: peer.address, end, sessions: link.sessions.size },
        "link ended",
      );
      listener.ended(link, end);
      peer.loggedReason = "";
    } else if (kindOf(end) !== peer.loggedReason) {
      peer.loggedReason = kindOf(end);
      logger.warn({ address: peer.address, end }, "no link to this fanout; trying again");
    }
    if (this.#isStopped || this.#peers.get(peer.address) !== peer) return;
    if (!this.#addresses.has(peer.address)) {
      this.#peers.delete(peer.address);
      return;
    }
    peer.retry = setTimeout(() => this.#connect(peer), peer.backoff.nextMs(lastedMs));
    peer.retry.unref();
  }
}

/** A reason without its details, as "14 UNAVAILABLE": those may hold times and ports. */
function kindOf(end: LinkEnd): string {
  return end.how === "died" ? end.reason.replace(/:.*$/s, "") : end.how;
}

/** A fanout that drains is still giving its sessions back. */
function isLive(link: EdgeLink | undefined): boolean {
  return link?.phase === "ready" || link?.phase === "draining";
}
