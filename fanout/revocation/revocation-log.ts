/**
 * The revocation log port: where revocations outlive the store, so that they come back when it was emptied.
 * Implementation: `revocation-log-kafka.ts`. Where there is none, live fanouts give an emptied store back what they
 * know, and what is lost with the last of them is lost.
 */
import type { Revocation } from "./revocation.js";

export interface RevocationLog {
  /** Hands everything that is logged to the handler, from the beginning, and goes on with what comes. Only once. */
  start(handler: (revocations: readonly Revocation[]) => void): Promise<void>;
  /** Whether the handler was given all that was logged when reading began; false where nothing is read here. */
  isCaughtUp(): boolean;
  /** Fails with GatewayError `unavailable` where it was not taken; then it may have been. */
  append(revocations: readonly Revocation[]): Promise<void>;
  stop(): Promise<void>;
}
