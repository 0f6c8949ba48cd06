/**
 * Reads JSON that comes from outside. What is nested too deeply is refused before anything walks it
 * (JSON.parse itself takes any depth), and so are keys that would reach a prototype.
 */
import { GatewayError } from "./errors.js";

export const MAX_JSON_DEPTH = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

/** Whether arrays and objects are nested deeper than `limit` anywhere in the text. */
export function isNestedDeeper(text: Uint8Array, limit: number): boolean {
  let depth = 0;
  let isInString = false;
  for (let index = 0; index < text.length; index += 1) {
    const byte = text[index] ?? 0;
    if (isInString) {
      if (byte === BACKSLASH) index += 1;
      else if (byte === QUOTE) isInString = false;
    } else if (byte === QUOTE) isInString = true;
    else if (byte === OPEN_BRACE || byte === OPEN_BRACKET) {
      depth += 1;
      if (depth > limit) return true;
    } else if (byte === CLOSE_BRACE || byte === CLOSE_BRACKET) depth -= 1;
  }
  return false;
}

/** @throws GatewayError invalid_argument, quoting nothing of the text. */
export function parseUntrustedJson(text: Uint8Array): unknown {
  if (isNestedDeeper(text, MAX_JSON_DEPTH)) {
    throw new GatewayError("invalid_argument", `the JSON is nested deeper than ${MAX_JSON_DEPTH} levels`);
  }
  const string = Buffer.from(text.buffer, text.byteOffset, text.byteLength).toString("utf8");
  // The escape \u005f spells an underscore too: with a backslash in the text every key is looked at.
  const isSuspicious = string.includes("__proto__") || string.includes("\\u");
  try {
    return JSON.parse(string, isSuspicious ? refusePrototypeKeys : undefined) as unknown;
  } catch (thrown) {
    if (thrown instanceof GatewayError) throw thrown;
    throw new GatewayError("invalid_argument", "the frame is not valid JSON", { cause: thrown });
  }
}

function refusePrototypeKeys(key: string, value: unknown): unknown {
  if (key === "__proto__")
    throw new GatewayError("invalid_argument", "a key called __proto__ is not allowed");
  return value;
}
