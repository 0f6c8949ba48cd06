/**
 * The revocation store port: what is revoked, for all fanouts on it. Each has a copy of the whole in memory, asks
 * for what came since at an interval, and is told in between that there is something; so a word that is lost costs
 * no more than the interval, and opening a session asks nobody.
 *
 * Implementations: `revocation-store-memory.ts`, `revocation-store-redis.ts`, one contract suite for both. Fails
 * with GatewayError `unavailable` while the store is away.
 */
import type { Revocation } from "./revocation.js";

/** How far a copy has got. Versions compare only within an epoch, which ends when the store loses its data. */
export interface RevocationMark {
  /** Empty: nothing was ever revoked here. */
  readonly epoch: string;
  readonly version: number;
}

export interface RevocationNews {
  readonly mark: RevocationMark;
  /** True: these are all there are. The given mark is of another epoch, or ahead of the store. */
  readonly isWhole: boolean;
  /** Those whose time is over may be among them. */
  readonly revocations: readonly Revocation[];
}

export interface RevocationListener {
  /** Something was added, by whomever. Best effort. */
  added(): void;
  /** Words may have been lost, and the store may have lost data. */
  interrupted(): void;
}

/** Full: there are too many; it is not kept. */
export type AddOutcome = "kept" | "full";

export interface RevocationStore {
  /** Widens what is known of each subject. One outcome each; adding again what is known changes nothing. */
  add(revocations: readonly Revocation[]): Promise<readonly AddOutcome[]>;
  /** What was added or widened behind the mark; undefined: all. */
  since(mark: RevocationMark | undefined): Promise<RevocationNews>;
  /** Resolves when words arrive. Once. */
  listen(listener: RevocationListener): Promise<void>;
  close(): void;
}

export const DEFAULT_MAX_REVOCATIONS = 100_000;
