/**
 * Sessions whose socket closed, until their home is known to have heard it: what it has stored of them would outlive
 * a word that is lost with the link. The link is ordered, so who has answered a later status has heard it. Bounded by
 * the sockets that close between two answers, or before silence ends the link.
 */
export interface ClosedSession<Session> {
  readonly session: Session;
  readonly reason: string;
}

export class ClosedSessions<Session> {
  /** In the order in which they closed; each with the status that went behind its word, once there is one. */
  #waiting: (ClosedSession<Session> & { statusSequence: number })[] = [];

  add(session: Session, reason: string): void {
    this.#waiting.push({ session, reason, statusSequence: Infinity });
  }

  /** Everything that was said before went out before this status. */
  precede(statusSequence: number): void {
    for (const closed of this.#waiting) {
      if (closed.statusSequence === Infinity) closed.statusSequence = statusSequence;
    }
  }

  /** The home has answered this status. */
  answered(statusSequence: number): void {
    const firstUnheard = this.#waiting.findIndex((closed) => closed.statusSequence > statusSequence);
    this.#waiting = firstUnheard === -1 ? [] : this.#waiting.slice(firstUnheard);
  }

  /** Those of which the home may not have heard; they are somebody else's to tell from here on. */
  take(): readonly ClosedSession<Session>[] {
    const unheard = this.#waiting;
    this.#waiting = [];
    return unheard;
  }
}
