/**
 * What may stand in a log line. Fields whose names say token, password, secret, body and the like lose
 * their value; bytes become a count; texts lose what looks like a token; errors keep their name, message
 * and stack, and none of the properties that libraries hang on them (commands, requests, options). All of
 * it is bounded in depth, number and length, since some of it comes from clients.
 */
const REDACTED = "[redacted]";
const MAX_DEPTH = 5;
const MAX_ENTRIES = 64;
const MAX_TEXT_LENGTH = 2048;

/** Compared in lower case, without `_` and `-`. */
const SECRET_NAMES = new Set([
  "authorization",
  "proxyauthorization",
  "cookie",
  "setcookie",
  "apikey",
  "credentials",
  "claims",
  "claimsjson",
  "body",
  "payload",
  "content",
  "frame",
  "sessionid",
  "secwebsocketkey",
]);
const SECRET_ENDINGS = /(token|tokens|secret|secrets|password|passphrase|privatekey)$/;

const TOKENS: readonly (readonly [RegExp, string])[] = [
  [/\beyJ[\w-]*\.[\w-]+\.[\w-]*/g, "[token]"],
  [/\b(bearer|basic) +[^\s"',;]+/gi, "$1 [token]"],
  [/([?&](?:[\w-]*token|secret|password)=)[^&\s"']*/gi, "$1[token]"],
  // User and password in an address.
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^\s/@"']+@/gi, "$1[redacted]@"],
];

export function scrubText(text: string): string {
  // Cut first: a pattern shall not walk a megabyte. A token that is cut still matches up to its end.
  let scrubbed = text.length > MAX_TEXT_LENGTH ? `${text.slice(0, MAX_TEXT_LENGTH)}…` : text;
  for (const [pattern, replacement] of TOKENS) scrubbed = scrubbed.replaceAll(pattern, replacement);
  return scrubbed;
}

export function redactFields(fields: object): Record<string, unknown> {
  return fields instanceof Error ? { error: redactError(fields, 0) } : redactObject(fields, 0);
}

function redactObject(value: object, depth: number): Record<string, unknown> {
  const entries = Object.entries(value) as [string, unknown][];
  return Object.fromEntries(
    entries
      .slice(0, MAX_ENTRIES)
      .map(([name, field]) => [name, isSecretName(name) ? REDACTED : redactValue(field, depth + 1)]),
  );
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value === "string") return scrubText(value);
  if (typeof value === "bigint") return value.toString();
  if (typeof value === "function" || typeof value === "symbol") return undefined;
  if (typeof value !== "object" || value === null) return value;
  if (value instanceof Error) return redactError(value, depth);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "an invalid date" : value.toISOString();
  if (depth >= MAX_DEPTH) return "[too deep]";
  if (value instanceof Map) return redactObject(objectOf(value), depth);
  if (value instanceof Set) return redactList([...value], depth);
  if (Array.isArray(value)) return redactList(value, depth);
  return redactObject(value, depth);
}

function objectOf(map: ReadonlyMap<unknown, unknown>): Record<string, unknown> {
  return Object.fromEntries([...map].map(([key, field]) => [String(key), field]));
}

function redactList(items: readonly unknown[], depth: number): unknown[] {
  return items.slice(0, MAX_ENTRIES).map((item) => redactValue(item, depth + 1));
}

function redactError(error: Error, depth: number): Record<string, unknown> {
  const code: unknown = "code" in error ? error.code : undefined;
  const kind: unknown = "kind" in error ? error.kind : undefined;
  return {
    type: error.name,
    message: scrubText(error.message),
    stack: error.stack === undefined ? undefined : scrubText(error.stack),
    ...((typeof code === "string" || typeof code === "number") && { code }),
    ...(typeof kind === "string" && { kind }),
    ...(error.cause !== undefined && depth < MAX_DEPTH && { cause: redactValue(error.cause, depth + 1) }),
  };
}

function isSecretName(name: string): boolean {
  const plain = name.toLowerCase().replaceAll(/[_-]/g, "");
  return SECRET_NAMES.has(plain) || SECRET_ENDINGS.test(plain);
}
