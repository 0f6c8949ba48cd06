/** Tokens that `npm start` prints so that a newcomer can try every role at once; never made in production. */
import type { JwtOptions } from "#edge/auth/jwt-verifier.js";
import type { GatewayConfig } from "#services/config/config.js";
import { signToken } from "#services/token/sign-token.js";

export const DEMO_ROLES = ["customer", "porter", "merchant", "admin"] as const;

export type DemoTokens = Readonly<Record<(typeof DEMO_ROLES)[number], string>>;

const TTL_SECONDS = 24 * 3600;

/** `undefined` in production, and where tokens are checked by a provider's keys only. */
export async function makeDemoTokens(
  { environment, sockets }: Pick<GatewayConfig, "environment" | "sockets">,
  nowMs: number = Date.now(),
): Promise<DemoTokens | undefined> {
  const { socketSecret } = sockets.jwt;
  if (environment === "production" || socketSecret === undefined) return undefined;
  const sign = (role: string): Promise<string> => signDemo(role, sockets.jwt, socketSecret, nowMs);
  const [customer, porter, merchant, admin] = await Promise.all([
    sign("customer"),
    sign("porter"),
    sign("merchant"),
    sign("admin"),
  ]);
  return { customer, porter, merchant, admin };
}

function signDemo(role: string, jwt: JwtOptions, secret: string, nowMs: number): Promise<string> {
  // Longer ones would be refused.
  const ttlSeconds = Math.min(TTL_SECONDS, jwt.maxLifetimeSeconds ?? TTL_SECONDS);
  return signToken({ sub: `demo-${role}`, role, ttlSeconds }, { ...jwt, secret }, nowMs);
}
