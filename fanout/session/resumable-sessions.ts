/**
 * The resumable sessions port: what must be known of a session to continue it on another connection, also
 * after its edge died: the generation of its resume token, and how far it got in each channel that it follows.
 * No live session depends on it.
 *
 * Records live for `ttlMs` after their last save, at most MAX_RESUMABLE_SESSIONS a user: one more drops the one
 * that was saved longest ago. Saves are compare-and-set, so that a home that was frozen does no harm when it
 * wakes up. Implementations: `resumable-sessions-memory.ts`, `resumable-sessions-redis.ts`, one contract suite
 * for both. Fails with GatewayError `unavailable` while the store is away.
 */
import type { StreamPosition } from "#fanout/channel/broker.js";

export const MAX_RESUMABLE_SESSIONS = 32;

/** Whose session it is. */
export interface SessionOwner {
  readonly app: string;
  readonly userId: string;
}

/** How far a session got in a channel that it follows. Unknown: what came after is lost to who asks for it. */
export type Cursor = StreamPosition | "unknown";

export interface SessionSave extends SessionOwner {
  readonly sessionId: string;
  readonly generation: number;
  /** Whether the client is known to have the token of this generation. Never goes back within a generation. */
  readonly isGenerationConfirmed: boolean;
  readonly connectionId: string;
  /** When the session came to the home that saves it, by the store's clock in microseconds. */
  readonly homeStampUs: number;
  /** By channel name. Other channels' cursors stay, unless the save is whole. */
  readonly cursors: ReadonlyMap<string, Cursor | "removed">;
  /** True: the cursors are all there are, and the record is made where there is none. */
  readonly isWhole: boolean;
}

export type SaveOutcome =
  | "saved"
  /** There is no record, and the save is not whole. */
  | "missing"
  /** Nothing was saved: a later home of the same connection has saved. */
  | "superseded"
  /** Nothing was saved: the session was resumed since. */
  | "replaced"
  /** Nothing was saved: it was removed. */
  | "removed";

/** So long what was removed is told from what was lost: a home that missed the word asks with the hourly refresh. */
export const REMOVED_FOR_MS = 2 * 3_600_000;

export interface ResumeClaim extends SessionOwner {
  readonly sessionId: string;
  /** The token's. */
  readonly generation: number;
  readonly connectionId: string;
  /** When the home that claims it was asked to, by the store's clock in microseconds. */
  readonly homeStampUs: number;
}

export type ResumeAnswer =
  | {
      readonly outcome: "resumed";
      /** Of the next token. */
      readonly generation: number;
      /** The connection before this one; empty where there was none. */
      readonly replacedConnectionId: string;
      readonly cursors: ReadonlyMap<string, Cursor>;
    }
  /** Superseded: a later home has the session, or just had it. Nothing was changed. */
  | { readonly outcome: "gone" | "used" | "superseded" };

export interface ResumableSessions {
  /** How long a record is kept after its last save. */
  readonly ttlMs: number;
  /** One atomic step. */
  save(save: SessionSave): Promise<SaveOutcome>;
  /** It can be resumed no more, whatever its home still saves. Answers whether there was one. */
  remove(owner: SessionOwner, sessionId: string): Promise<boolean>;
  /**
   * Takes the session over for a connection and raises its generation, in one atomic step. Accepted is the
   * token of the stored generation; while no token after it is confirmed, also the one that was accepted last:
   * its holder may never have got a newer one. It stays good for the connection that it was accepted for, whose
   * frame is sent again where a home died. A token that is newer than the record proves that the store has lost
   * a save, and is accepted.
   *
   * A claim with an older stamp than the stored one is superseded, whatever its token: it was under way while its
   * home was frozen or cut off, and would take the session from the connection that has it since, for a socket
   * that is gone. Stamps of one connection's homes are compared as well as those of two connections. Where clocks
   * differ by more than a client takes to come back, the claim of a living one is refused too; it says "unavailable"
   * to its client, who tries again with the same token and a later stamp. So the stored stamp never goes back.
   */
  resume(claim: ResumeClaim): Promise<ResumeAnswer>;
}
