/**
 * What has to be known about foreign data before anything walks it: how deep it is, and whether it holds
 * what steers JavaScript (`__proto__`) or what protobuf's Struct cannot say (NaN, infinities).
 */
/** Why a parsed value must not go on; undefined where it may. Its depth is bounded by the caller. */
export function faultOf(value: unknown): string | undefined {
  if (typeof value === "number" && !Number.isFinite(value)) return "it holds a number that is not finite";
  if (value === undefined) return "it holds a value of no kind";
  if (typeof value !== "object" || value === null) return undefined;
  if (Object.hasOwn(value, "__proto__")) return "it holds a key __proto__";
  for (const part of Object.values(value) as unknown[]) {
    const fault = faultOf(part);
    if (fault !== undefined) return fault;
  }
  return undefined;
}

/** How deep a parsed value nests: 0 for a scalar. The decoder that made it has a limit of its own. */
export function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  let deepest = 0;
  for (const part of Object.values(value) as unknown[]) deepest = Math.max(deepest, depthOf(part));
  return deepest + 1;
}

export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
