/** Optional behaviours that a side of the link names in its hello: the other side does not ask for what is not named. */

/** The edge checks tokens that the fanout was sent on a live socket (`VerifyToken`), and keeps `RefreshPrincipal`. */
export const VERIFY_TOKEN_FEATURE = "verify_token";
