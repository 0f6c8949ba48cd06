/**
 * What a client says to be (`userType`), held against what its token says. The token always wins: a user
 * type gives a role only to a token without one, only where configuration trusts clients that far, and
 * only out of the roles of ordinary people.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { AuthenticationError } from "./authentication-error.js";
import { ROLE_OF_ANYBODY } from "./principal-claims.js";

/** The roles that a client may give itself where it is trusted to: never `admin`, never `service`. */
const USER_TYPES: ReadonlySet<string> = new Set([
  "customer",
  "rider",
  "porter",
  "driver",
  "delivery_partner",
  "merchant",
  "restaurant",
]);

export interface UserTypeTrust {
  /** Whether a token without a role takes the role that its client names. */
  readonly trustUserType: boolean;
}

/** The principal with its role settled. Throws `permission_denied` where the client contradicts the token. */
export function checkUserType(
  principal: Principal,
  userType: string | undefined,
  { trustUserType }: UserTypeTrust,
): Principal {
  if (userType === undefined || userType === "" || userType === principal.role) return principal;
  if (principal.role !== ROLE_OF_ANYBODY) {
    throw new AuthenticationError("user_type", "the user type is not the token's role");
  }
  if (!trustUserType) {
    throw new AuthenticationError(
      "user_type",
      "the token has no role, and a user type is not taken for one here",
    );
  }
  if (!USER_TYPES.has(userType)) {
    throw new AuthenticationError("user_type", "this user type is not one that a client may choose");
  }
  return { ...principal, role: userType };
}
