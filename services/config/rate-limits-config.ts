/** Resolves the rate limits: a limit for every class, and what roles have instead. */
import type { ClassLimits, RateLimits } from "#fanout/limits/rate-limits.js";
import type { EnvironmentReader } from "./environment-reader.js";
import { limitVariables } from "./variables/limits.js";

export function readRateLimits(reader: EnvironmentReader): RateLimits {
  return {
    byClass: {
      general: reader.get(limitVariables.general),
      location: reader.get(limitVariables.location),
      chat: reader.get(limitVariables.chat),
      ping: reader.get(limitVariables.ping),
    },
    byRole: readByRole(reader),
    closeAfter: reader.get(limitVariables.closeAfter),
  };
}

function readByRole(reader: EnvironmentReader): RateLimits["byRole"] {
  const byRole = new Map<string, Partial<ClassLimits>>();
  for (const { role, frameClass, limit } of reader.get(limitVariables.byRole) ?? []) {
    const limits = byRole.get(role) ?? {};
    if (limits[frameClass] !== undefined)
      reader.fault(limitVariables.byRole, `says ${role}.${frameClass} twice`);
    byRole.set(role, { ...limits, [frameClass]: limit });
  }
  return byRole;
}
