/**
 * The port by which the edge learns whom a token stands for. It says who somebody is and until when,
 * never what they may do: permissions are the fanout's.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";

export interface VerifiedToken {
  readonly principal: Principal;
}

export interface TokenVerifier {
  /**
   * Who the token's bearer is. Rejects with an AuthenticationError, and with nothing else, where the token
   * cannot be trusted or cannot be checked now. Keeps neither the token nor any part of it.
   */
  verify(token: string): Promise<VerifiedToken>;
}
