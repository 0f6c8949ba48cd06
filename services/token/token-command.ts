/**
 * The `token` command without its process: arguments and environment in, what to print out. It uses the
 * secret that the gateway would use, or says how to set one; it never makes one up, because a token of an
 * unknown secret opens nothing.
 */
import { parseArgs } from "node:util";
import {
  ConfigurationError,
  EnvironmentReader,
  type Environment,
} from "#services/config/environment-reader.js";
import { jsonObject } from "#services/config/value-kind.js";
import { tokenVariables } from "#services/config/variables/tokens.js";
import { signToken, type SigningOptions, type TokenSubject } from "./sign-token.js";

export interface CommandResult {
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

const DEFAULT_TTL_SECONDS = 3600;
const MAX_TTL_SECONDS = 10 * 365 * 86_400;

const HELP = `Prints a signed token (HS256) for the configured secret.

Usage: npm run token -- --sub u1 [--role customer] [--ttl 3600] [--app shop] [--claims '{"restaurant":"r1"}']

  --sub     the user's id
  --role    customer, rider, porter, driver, delivery_partner, merchant, restaurant, admin; without: user
  --ttl     seconds until the token ends (default ${DEFAULT_TTL_SECONDS})
  --app     the app (default: DEFAULT_APP)
  --claims  more claims, as a JSON object

The secret is JWT_SOCKET_SECRET, else JWT_SECRET, from the environment or from .env. JWT_USER_CLAIM,
JWT_ROLE_CLAIM, JWT_APP_CLAIM, JWT_ISSUER, JWT_AUDIENCE and MAX_TOKEN_LIFETIME count as they do for the gateway.
`;

/** A fault of whoever called. */
class UsageError extends Error {}

export async function runTokenCommand(
  args: readonly string[],
  environment: Environment,
  nowMs: number = Date.now(),
): Promise<CommandResult> {
  try {
    const subject = readArguments(args);
    if (subject === undefined) return { exitCode: 0, output: HELP, errors: "" };
    const signing = readSigning(environment);
    if (subject.ttlSeconds > signing.maxLifetimeSeconds) {
      throw new UsageError(
        `the gateway refuses tokens that live longer than ${signing.maxLifetimeSeconds} seconds: give a shorter --ttl, or raise MAX_TOKEN_LIFETIME`,
      );
    }
    const token = await signToken(subject, signing, nowMs);
    return { exitCode: 0, output: `${token}\n`, errors: "" };
  } catch (error) {
    if (error instanceof UsageError || error instanceof ConfigurationError) {
      return { exitCode: 2, output: "", errors: `${error.message}\n` };
    }
    throw error;
  }
}

/** `undefined` where help is asked for. */
function readArguments(args: readonly string[]): TokenSubject | undefined {
  const { sub, role, app, ttl, claims, help } = parse(args);
  if (help === true) return undefined;
  if (sub === undefined || sub === "")
    throw new UsageError("--sub must be the user's id (--help tells more)");
  return { sub, role, app, ttlSeconds: readTtl(ttl), claims: readClaims(claims) };
}

function parse(args: readonly string[]) {
  try {
    return parseArgs({
      args: [...args],
      options: {
        sub: { type: "string" },
        role: { type: "string" },
        app: { type: "string" },
        ttl: { type: "string" },
        claims: { type: "string" },
        help: { type: "boolean", short: "h" },
      },
    }).values;
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : "wrong arguments"} (--help tells more)`);
  }
}

function readTtl(ttl: string | undefined): number {
  if (ttl === undefined) return DEFAULT_TTL_SECONDS;
  const seconds = /^\d{1,10}$/.test(ttl) ? Number(ttl) : 0;
  if (seconds < 1 || seconds > MAX_TTL_SECONDS) {
    throw new UsageError(`--ttl must be a number of seconds from 1 to ${MAX_TTL_SECONDS}`);
  }
  return seconds;
}

function readClaims(claims: string | undefined): TokenSubject["claims"] {
  if (claims === undefined) return undefined;
  const parsed = jsonObject.parse(claims, () => "");
  if (parsed === undefined) throw new UsageError(`--claims must be ${jsonObject.expects}`);
  return parsed;
}

function readSigning(environment: Environment): SigningOptions & { readonly maxLifetimeSeconds: number } {
  const reader = new EnvironmentReader("edge", environment);
  const { socketSecret, sharedSecret, userClaim, roleClaim, appClaim, issuer, audience } = tokenVariables;
  const shared = reader.get(sharedSecret);
  const options = {
    secret: reader.get(socketSecret) ?? shared,
    userClaim: reader.get(userClaim),
    roleClaim: reader.get(roleClaim),
    appClaim: reader.get(appClaim),
    issuer: reader.get(issuer),
    audience: reader.get(audience),
    maxLifetimeSeconds: reader.get(tokenVariables.maxTokenLifetimeMs) / 1000,
  };
  reader.finish();
  const { secret } = options;
  if (secret === undefined) {
    throw new UsageError(
      "JWT_SOCKET_SECRET (or JWT_SECRET) must be set, in the environment or in .env, to the secret of the gateway.\n" +
        "`npm start` without one makes a secret of its own and prints tokens for it.",
    );
  }
  return { ...options, secret };
}
