/**
 * Resume tokens: which session, and the generation that this token is of, signed for one user of one app.
 * A token alone opens nothing: its holder has proved before who they are. Whether the generation is still the
 * session's is the store's to say.
 *
 * base64url of: version (1 byte), generation (4), signature (16: HMAC-SHA256, truncated), session id.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { GatewayError } from "#proto/errors.js";
import type { SessionOwner } from "./resumable-sessions.js";

export interface ResumeTicket {
  readonly sessionId: string;
  readonly generation: number;
}

const VERSION = 1;
const SIGNATURE_BYTES = 16;
const HEADER_BYTES = 1 + 4 + SIGNATURE_BYTES;
const MAX_TOKEN_CHARACTERS = 256;
const FIELD = "resume.resume_token";

export function signResumeToken(key: Buffer, owner: SessionOwner, ticket: ResumeTicket): string {
  const header = Buffer.alloc(5);
  header.writeUInt8(VERSION, 0);
  header.writeUInt32BE(ticket.generation, 1);
  const sessionId = Buffer.from(ticket.sessionId, "utf8");
  return Buffer.concat([header, signature(key, owner, ticket), sessionId]).toString("base64url");
}

/**
 * Reads a token that was signed with one of the keys.
 * @throws GatewayError invalid_argument where it is no token, permission_denied where it is forged or another
 *   user's.
 */
export function readResumeToken(keys: readonly Buffer[], owner: SessionOwner, token: string): ResumeTicket {
  const bytes = Buffer.from(token.slice(0, MAX_TOKEN_CHARACTERS), "base64url");
  // Node reads past what is no base64url; each token has one spelling.
  if (bytes.toString("base64url") !== token || bytes.length <= HEADER_BYTES || bytes[0] !== VERSION) {
    throw new GatewayError("invalid_argument", "this is no resume token", { field: FIELD });
  }
  const ticket = {
    generation: bytes.readUInt32BE(1),
    sessionId: bytes.toString("utf8", HEADER_BYTES),
  };
  const claimed = bytes.subarray(5, HEADER_BYTES);
  // All keys are tried, so that time does not tell which one it was.
  const matches = keys.filter((key) => timingSafeEqual(signature(key, owner, ticket), claimed));
  if (matches.length === 0) {
    throw new GatewayError("permission_denied", "this resume token is not yours", { field: FIELD });
  }
  return ticket;
}

function signature(key: Buffer, { app, userId }: SessionOwner, ticket: ResumeTicket): Buffer {
  const text = JSON.stringify(["resume", VERSION, app, userId, ticket.sessionId, ticket.generation]);
  return createHmac("sha256", key).update(text).digest().subarray(0, SIGNATURE_BYTES);
}
