/**
 * Sessions without a token, where configuration lets them in: each is somebody of its own whom nothing outlives.
 * What they may do is the fanout's to say; it knows them by their role.
 */
import { randomUUID } from "node:crypto";
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";

const ANONYMOUS_ROLE = "anonymous";

export function anonymousPrincipal(app: string): Principal {
  return {
    app,
    userId: `anonymous-${randomUUID()}`,
    role: ANONYMOUS_ROLE,
    tokenId: "",
    issuedAt: 0,
    expiresAt: 0,
    claimsJson: "",
  };
}
