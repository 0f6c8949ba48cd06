/**
 * The close codes of the gateway's sockets. The range tells a client what to do:
 * 4000–4099 reconnect (and resume), 4100–4199 get a new token first, 4200–4299 do not come back.
 * `docs/protocol.md` explains each; a test holds the page against this table.
 */
export const CloseCode = {
  /** The edge is being replaced. */
  DRAINING: 4000,
  /** The client read too slowly; its queue was full. */
  SLOW: 4001,
  /** No sign of life for two heartbeats. */
  HEARTBEAT_MISSED: 4002,
  /** The gateway or a dependency cannot take it now; reconnect later. */
  OVERLOADED: 4003,
  /** A fault of the gateway. */
  INTERNAL: 4004,
  /** The connection has lived its time; a `reconnect` frame came before. */
  LIFETIME: 4005,
  /** No token, or one that cannot be trusted. */
  UNAUTHENTICATED: 4100,
  /** The token's time is over. */
  TOKEN_EXPIRED: 4101,
  /** The token was revoked. */
  TOKEN_REVOKED: 4102,
  /** No token came within the deadline. */
  AUTHENTICATION_TIMEOUT: 4103,
  /** The user may not be here. */
  FORBIDDEN: 4200,
  /** A frame broke the protocol (size, framing). */
  PROTOCOL_ERROR: 4201,
  /** Another connection took the session over. */
  REPLACED: 4202,
  /** A service, or the user from another device, ended the connection. */
  KICKED: 4203,
  /** The user has too many sessions; this one had to go, or may not begin. */
  SESSION_LIMIT: 4204,
} as const;

export type CloseCode = (typeof CloseCode)[keyof typeof CloseCode];
