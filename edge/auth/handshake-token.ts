/**
 * Reads what an upgrade request says about its client: the token (`Authorization: Bearer`, else
 * `?token=`), how the client describes itself, whether it will resume, and what it follows unasked. Pure; checks form
 * and length only. What is returned lives as long as the socket, so it must not keep the request, its headers or its URL alive.
 */
import { GatewayError } from "#proto/errors.js";
import type { IncomingHttpHeaders } from "node:http";

export interface ClientDescription {
  /** Empty where the client did not say. */
  readonly deviceId: string;
  /** Empty where the client did not say. */
  readonly platform: string;
  /** Empty where the client did not say. */
  readonly userType: string;
}

export interface HandshakeCredentials extends ClientDescription {
  /** Absent: the first frame must bring it. Its length is the verifier's to refuse. */
  readonly token: string | undefined;
  /** The client says that its first frame is a `resume`. */
  readonly resumes: boolean;
  /** The client wants to follow what its user takes part in, unasked. */
  readonly followOwn: boolean;
}

const BEARER = /^Bearer +([^ ]+) *$/i;
/** Longer tokens are cut to this, which is still too long for the verifier, and so refused by it. */
const MAX_TOKEN_LENGTH_KEPT = 16 * 1024;

const DEVICE_ID = /^[\x21-\x7e]{1,128}$/;
const PLATFORM = /^[A-Za-z0-9_.-]{1,32}$/;
const USER_TYPE = /^[A-Za-z0-9_.-]{1,64}$/;

/** Throws `invalid_argument` with the field at fault. */
export function readHandshakeCredentials(
  headers: Pick<IncomingHttpHeaders, "authorization">,
  url: string | undefined,
): HandshakeCredentials {
  const query = queryOf(url);
  return {
    token: readToken(headers.authorization, query),
    resumes: readResumes(query.get("resume") ?? ""),
    followOwn: readFollow(query.get("follow") ?? ""),
    ...readClientDescription({
      deviceId: query.get("deviceId") ?? "",
      platform: query.get("platform") ?? "",
      userType: query.get("userType") ?? "",
    }),
  };
}

/** The same checks for a description that comes in an `authenticate` frame. */
export function readClientDescription(said: ClientDescription): ClientDescription {
  return {
    deviceId: checked("deviceId", said.deviceId, DEVICE_ID),
    platform: checked("platform", said.platform, PLATFORM),
    userType: checked("userType", said.userType, USER_TYPE),
  };
}

function readToken(authorization: string | undefined, query: URLSearchParams): string | undefined {
  const bearer = authorization === undefined ? undefined : BEARER.exec(authorization)?.[1];
  const token = bearer ?? query.get("token") ?? "";
  return token === "" ? undefined : detached(token.slice(0, MAX_TOKEN_LENGTH_KEPT));
}

/** A value that nobody means is refused: who wanted to resume would wait in vain for what was missed. */
function readResumes(value: string): boolean {
  if (value === "true" || value === "1") return true;
  if (value === "" || value === "false") return false;
  throw new GatewayError("invalid_argument", "resume must be true or false", { field: "resume" });
}

/** A word that nobody knows is refused: who meant something by it would follow nothing. */
function readFollow(value: string): boolean {
  if (value === "own") return true;
  if (value === "") return false;
  throw new GatewayError("invalid_argument", "follow must be own", { field: "follow" });
}

function checked(field: string, value: string, form: RegExp): string {
  if (value === "") return "";
  if (!form.test(value)) {
    throw new GatewayError("invalid_argument", `${field} must match ${form.source}`, { field });
  }
  return detached(value);
}

/** Not `new URL`: it throws on targets that HTTP lets through. */
function queryOf(url: string | undefined): URLSearchParams {
  const start = url?.indexOf("?") ?? -1;
  return new URLSearchParams(start === -1 ? "" : url?.slice(start + 1));
}

/** A copy: a part of a string is kept by the engine as a view of the whole, here the URL with the token. */
function detached(text: string): string {
  return Buffer.from(text, "utf8").toString("utf8");
}
