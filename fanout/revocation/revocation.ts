/**
 * A revocation: tokens that count no more although their time is not over. One of a token names it by its id
 * (`jti`); one of a user means all tokens of theirs that were issued before a time. Revocations only ever grow: of
 * two of the same subject the wider one holds, so it does not matter in which order or how often they come.
 */
export interface Revocation {
  /** The product. */
  readonly app: string;
  readonly subject: "token" | "user";
  /** The token's id, or the user's. Any text. */
  readonly id: string;
  /** Of a user's tokens those that were issued before this; milliseconds since 1970-01-01 UTC. 0 for a token. */
  readonly issuedBeforeMs: number;
  /** By then the time of all these tokens is over: milliseconds since 1970-01-01 UTC. */
  readonly expiresAtMs: number;
}

/** What a token says that a revocation can be about. */
export interface RevocableToken {
  readonly app: string;
  readonly userId: string;
  /** Empty: it has none. */
  readonly tokenId: string;
  /** Seconds since 1970-01-01 UTC. 0: it does not say, and counts as older than any time. */
  readonly issuedAt: number;
}

/** Longer ids are in no token: the edge refuses those. */
export const MAX_REVOKED_ID_LENGTH = 256;

/** What a revocation is about, as one text. Ids may have any characters. */
export function revocationKey({ subject, app, id }: Pick<Revocation, "subject" | "app" | "id">): string {
  return JSON.stringify([subject, app, id]);
}

/** Undefined where the text is not what `revocationKey` makes. */
export function readRevocationKey(key: string): Pick<Revocation, "subject" | "app" | "id"> | undefined {
  let parts: unknown;
  try {
    parts = JSON.parse(key);
  } catch {
    return undefined;
  }
  if (!Array.isArray(parts)) return undefined;
  const [subject, app, id] = parts as readonly unknown[];
  if (subject !== "token" && subject !== "user") return undefined;
  return typeof app === "string" && typeof id === "string" ? { subject, app, id } : undefined;
}

/** Both in one; the very same object where the other adds nothing. */
export function widen(known: Revocation, other: Revocation): Revocation {
  const issuedBeforeMs = Math.max(known.issuedBeforeMs, other.issuedBeforeMs);
  const expiresAtMs = Math.max(known.expiresAtMs, other.expiresAtMs);
  const isSame = issuedBeforeMs === known.issuedBeforeMs && expiresAtMs === known.expiresAtMs;
  return isSame ? known : { ...known, issuedBeforeMs, expiresAtMs };
}
