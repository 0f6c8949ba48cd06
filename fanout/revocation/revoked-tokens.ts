/**
 * A fanout's own copy of what is revoked: asked for each session that opens, so it answers at once. Pure: what it is
 * told it widens, and time is passed in. Bounded: beyond its bound it takes no more subjects, and counts those.
 */
import { revocationKey, widen, type RevocableToken, type Revocation } from "./revocation.js";

interface Known {
  readonly revocation: Revocation;
  /** Whether the log is known to have it. */
  readonly isLogged: boolean;
  readonly sinceMs: number;
}

export class RevokedTokens {
  readonly #maxRevocations: number;
  readonly #known = new Map<string, Known>();
  /** Subjects that were not taken. */
  overflows = 0;

  constructor(options: { readonly maxRevocations: number }) {
    this.#maxRevocations = options.maxRevocations;
  }

  get size(): number {
    return this.#known.size;
  }

  revokes({ app, userId, tokenId, issuedAt }: RevocableToken, nowMs: number): boolean {
    if (this.#known.size === 0) return false;
    const ofUser = this.#alive({ subject: "user", app, id: userId }, nowMs);
    if (ofUser !== undefined && issuedAt * 1000 < ofUser.issuedBeforeMs) return true;
    return tokenId !== "" && this.#alive({ subject: "token", app, id: tokenId }, nowMs) !== undefined;
  }

  /** Takes what is new to it; answers that, as it is known from here on. */
  take(revocations: Iterable<Revocation>, nowMs: number, from: "log" | "elsewhere"): readonly Revocation[] {
    const news: Revocation[] = [];
    let isSwept = false;
    for (const revocation of revocations) {
      if (revocation.expiresAtMs <= nowMs) continue;
      const key = revocationKey(revocation);
      const known = this.#known.get(key);
      if (known === undefined && this.#known.size >= this.#maxRevocations && !isSwept) {
        // The store has forgotten those whose time is over, and has taken others in their place.
        this.sweep(nowMs);
        isSwept = true;
      }
      if (known === undefined && this.#known.size >= this.#maxRevocations) {
        this.overflows += 1;
        continue;
      }
      const widened = known === undefined ? revocation : widen(known.revocation, revocation);
      const isNews = widened !== known?.revocation;
      const wasLogged = !isNews && known.isLogged;
      // The log has it where what it told is all that is known.
      const isLogged = wasLogged || (from === "log" && isSame(widened, revocation));
      if (isNews || isLogged !== wasLogged) {
        const sinceMs = isNews ? nowMs : known.sinceMs;
        this.#known.set(key, { revocation: widened, isLogged, sinceMs });
      }
      if (isNews) news.push(widened);
    }
    return news;
  }

  /** What of it a store lacks that has these and no others. */
  *missingIn(revocations: Iterable<Revocation>, nowMs: number): Generator<Revocation> {
    const stored = new Map(Array.from(revocations, (each) => [revocationKey(each), each]));
    for (const [key, { revocation }] of this.#known) {
      if (revocation.expiresAtMs <= nowMs) continue;
      const found = stored.get(key);
      if (found === undefined || widen(found, revocation) !== found) yield revocation;
    }
  }

  /** What the log is not known to have although it is known here since then. */
  unlogged(sinceBeforeMs: number, limit: number): readonly Revocation[] {
    const found: Revocation[] = [];
    for (const { revocation, isLogged, sinceMs } of this.#known.values()) {
      if (isLogged || sinceMs > sinceBeforeMs) continue;
      if (found.push(revocation) >= limit) break;
    }
    return found;
  }

  get unloggedCount(): number {
    let count = 0;
    for (const { isLogged } of this.#known.values()) if (!isLogged) count += 1;
    return count;
  }

  /** The log has taken these. */
  logged(revocations: readonly Revocation[]): void {
    for (const revocation of revocations) {
      const key = revocationKey(revocation);
      const known = this.#known.get(key);
      if (known?.revocation === revocation) this.#known.set(key, { ...known, isLogged: true });
    }
  }

  /** Of one app, or of one subject of it; those that are forgotten last come first. */
  list(
    asked: { readonly app: string } & Partial<Pick<Revocation, "subject" | "id">>,
    nowMs: number,
  ): Revocation[] {
    const found: Revocation[] = [];
    for (const { revocation } of this.#known.values()) {
      if (revocation.app !== asked.app || revocation.expiresAtMs <= nowMs) continue;
      if (asked.subject !== undefined && asked.subject !== revocation.subject) continue;
      if (asked.id === undefined || asked.id === revocation.id) found.push(revocation);
    }
    return found.sort((left, right) => right.expiresAtMs - left.expiresAtMs);
  }

  /** Forgets those whose time is over. */
  sweep(nowMs: number): void {
    for (const [key, { revocation }] of this.#known) {
      if (revocation.expiresAtMs <= nowMs) this.#known.delete(key);
    }
  }

  #alive(subject: Pick<Revocation, "subject" | "app" | "id">, nowMs: number): Revocation | undefined {
    const revocation = this.#known.get(revocationKey(subject))?.revocation;
    return revocation !== undefined && revocation.expiresAtMs > nowMs ? revocation : undefined;
  }
}

function isSame(left: Revocation, right: Revocation): boolean {
  return left.issuedBeforeMs === right.issuedBeforeMs && left.expiresAtMs === right.expiresAtMs;
}
