/**
 * Where sessions live: gives each its home by rendezvous hashing over the ready fanouts, and takes it to
 * the next one when its home drains, dies or is no longer the best. No socket closes for it.
 *
 * Moves are paced. If more than half of the fanouts look dead at once, the edge suspects itself (its own
 * network, its own pause) and waits before it moves anybody. A frame that was in flight at two deaths of
 * links is poison: it is answered `internal` and never sent again.
 */
import type { Logger } from "../edge-logger.js";
import type { EdgeCounters } from "../edge-counters.js";
import type { EdgeLink, LinkedSession, LinkEnd } from "../link/edge-link.js";
import { rendezvous } from "../link/rendezvous.js";
import type { UnansweredFrame } from "../session/edge-session.js";

export interface HomingLimits {
  /** Sessions moved a second, at most. */
  readonly movesPerSecond: number;
  /** A fanout that joins takes its share spread over so long. */
  readonly rebalanceWindowMs: number;
  /** How long the edge waits when it suspects itself. */
  readonly suspicionMs: number;
}

export const DEFAULT_HOMING_LIMITS: HomingLimits = {
  movesPerSecond: 20_000,
  rebalanceWindowMs: 5000,
  suspicionMs: 5000,
};

/** A frame in flight at so many deaths of links is not sent again. */
const MAX_LINK_DEATHS = 2;
/** Links that died within so long died "at once". */
const AT_ONCE_MS = 3000;
/** From so many fanouts on, most of them dead at once is suspicious. */
const MIN_FANOUTS_FOR_SUSPICION = 3;

export interface HomingOptions {
  readonly readyLinks: () => Iterable<EdgeLink>;
  readonly counters: EdgeCounters;
  readonly logger: Logger;
  readonly limits?: HomingLimits;
  readonly nowMs: () => number;
  readonly random?: () => number;
  /** Answers a frame that no fanout will get again. */
  readonly refusePoison: (session: LinkedSession, frame: UnansweredFrame) => void;
}

export class Homing {
  readonly #options: HomingOptions;
  readonly #limits: HomingLimits;
  /** Sessions without a home, in the order in which they lost it. */
  readonly #homeless = new Set<LinkedSession>();
  /** When a session shall leave a live home for a better one. */
  readonly #moves = new Map<LinkedSession, number>();
  readonly #deaths: { readonly name: string; readonly atMs: number }[] = [];
  #suspiciousUntilMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor(options: HomingOptions) {
    this.#options = options;
    this.#limits = options.limits ?? DEFAULT_HOMING_LIMITS;
  }

  get homelessSessions(): number {
    return this.#homeless.size;
  }

  /** Whether a new session would find a home now. */
  get hasHome(): boolean {
    for (const _link of this.#options.readyLinks()) return true;
    return false;
  }

  /** Gives a session its home, now where there is one. */
  place(session: LinkedSession): void {
    const link = rendezvous(session.homeKey, this.#options.readyLinks());
    if (link === undefined) {
      this.#homeless.add(session);
      return;
    }
    link.open(session);
    if (session.closedBecause !== undefined) link.close(session, session.closedBecause);
  }

  /** The socket is gone. What an earlier home has stored of the session is for the next one to remove. */
  remove(session: LinkedSession, reason: string): void {
    this.#moves.delete(session);
    if (session.home.at === "link") session.home.link.close(session, reason);
    else if (session.wasOpened) session.close(reason);
    else this.#homeless.delete(session);
  }

  linkReady(link: EdgeLink, sessions: Iterable<LinkedSession>): void {
    const { nowMs, random = Math.random, readyLinks } = this.#options;
    const ready = [...readyLinks()];
    const now = nowMs();
    if (ready.length * 2 > this.#knownFanouts(ready)) this.#suspiciousUntilMs = 0;
    for (const session of sessions) {
      if (session.home.at !== "link" || session.home.link === link || this.#moves.has(session)) continue;
      if (rendezvous(session.homeKey, ready) !== link) continue;
      const isUrgent = session.home.link.phase === "draining";
      this.#moves.set(session, isUrgent ? now : now + random() * this.#limits.rebalanceWindowMs);
    }
    this.#run();
  }

  /** The fanout ends: all its sessions go now, at the pace of moves. */
  linkDraining(link: EdgeLink): void {
    const now = this.#options.nowMs();
    for (const session of link.sessions.values()) {
      if (session.home.at === "link") this.#moves.set(session, now);
    }
    this.#run();
  }

  released(session: LinkedSession): void {
    this.#options.counters.sessionsMoved += 1;
    this.place(session);
  }

  linkEnded(link: EdgeLink, end: LinkEnd): void {
    const now = this.#options.nowMs();
    if (end.how === "died") this.#suspect(link, now);
    for (const session of link.sessions.values()) {
      this.#moves.delete(session);
      // However politely the link ended: what it did not deal with may be why.
      for (const frame of session.takePoison(MAX_LINK_DEATHS)) {
        this.#options.counters.poisonFrames += 1;
        this.#options.refusePoison(session, frame);
      }
      this.#homeless.add(session);
    }
    link.sessions.clear();
    for (const { session, reason } of link.closed.take()) {
      session.close(reason);
      this.#homeless.add(session);
    }
    this.#run();
  }

  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  /** Deals with what is due, in slices, so that a large move does not stop the edge. */
  readonly #run = (): void => {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isStopped) return;
    const now = this.#options.nowMs();
    let budget = Math.ceil((this.#limits.movesPerSecond * SLICE_MS) / 1000);
    if (now >= this.#suspiciousUntilMs && this.hasHome) {
      for (const session of this.#homeless) {
        if (budget <= 0) break;
        budget -= 1;
        this.#homeless.delete(session);
        this.#options.counters.sessionsMoved += 1;
        this.place(session);
      }
    }
    for (const [session, dueMs] of this.#moves) {
      if (budget <= 0) break;
      if (dueMs > now) continue;
      budget -= 1;
      this.#moves.delete(session);
      this.#leave(session);
    }
    if (this.#moves.size > 0 || this.#homeless.size > 0) {
      this.#timer = setTimeout(this.#run, SLICE_MS);
    }
  };

  /** Asks a live home for the session, where there is a better one. */
  #leave(session: LinkedSession): void {
    if (session.home.at !== "link") return;
    const best = rendezvous(session.homeKey, this.#options.readyLinks());
    if (best === undefined || best === session.home.link) return;
    this.#options.counters.sessionsRebalanced += 1;
    session.home.link.release(session);
  }

  #suspect(link: EdgeLink, now: number): void {
    this.#deaths.push({ name: link.name, atMs: now });
    while ((this.#deaths[0]?.atMs ?? now) < now - AT_ONCE_MS) this.#deaths.shift();
    const dead = new Set(this.#deaths.map(({ name }) => name));
    const known = this.#knownFanouts(this.#options.readyLinks());
    if (known < MIN_FANOUTS_FOR_SUSPICION || dead.size * 2 <= known || now < this.#suspiciousUntilMs) return;
    this.#suspiciousUntilMs = now + this.#limits.suspicionMs;
    this.#options.counters.selfSuspicions += 1;
    this.#options.logger.warn(
      { dead: dead.size, known },
      "most fanouts look dead at once: this edge waits before it moves sessions",
    );
  }

  /** How many fanouts there are, with those that died a moment ago. */
  #knownFanouts(ready: Iterable<EdgeLink>): number {
    const names = new Set(this.#deaths.map(({ name }) => name));
    for (const link of ready) names.add(link.name);
    return names.size;
  }
}

const SLICE_MS = 20;
