import { describe, expect, it } from "vitest";
import { GatewayError } from "./errors.js";
import { isNestedDeeper, MAX_JSON_DEPTH, parseUntrustedJson } from "./json-guard.js";

function parse(text: string): unknown {
  return parseUntrustedJson(Buffer.from(text));
}

function refusal(text: string): GatewayError {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error(`${text.slice(0, 40)} was let through`);
}

/** Numbers that look random and are the same every time. */
function numbers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  };
}

const KEYS = [
  "a",
  "",
  "id",
  '"',
  "\\",
  "{",
  "]",
  "é",
  "😀",
  "\u0000",
  "\n",
  "constructor",
  "__proto_",
  "_proto__",
];

/** A value with strings that hold brackets, quotes, backslashes and escapes. */
function randomValue(next: (limit: number) => number, depth: number): unknown {
  switch (next(depth <= 0 ? 4 : 6)) {
    case 0:
      return next(2) === 0;
    case 1:
      return next(2 ** 31) - 2 ** 30;
    case 2:
      return null;
    case 3:
      return Array.from({ length: next(6) }, () => KEYS[next(KEYS.length)]).join("");
    case 4:
      return Array.from({ length: next(4) }, () => randomValue(next, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: next(4) }, () => [KEYS[next(KEYS.length)], randomValue(next, depth - 1)]),
      );
  }
}

function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe("parseUntrustedJson", () => {
  it("reads whatever JSON.parse reads, with and without escapes", () => {
    const next = numbers(7);
    for (let round = 0; round < 2000; round += 1) {
      const value = randomValue(next, 6);
      const text = JSON.stringify(value);
      expect(parse(text)).toEqual(value);
      const escaped = text.replace(
        /[^\x20-\x7e]/g,
        (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`,
      );
      expect(parse(escaped)).toEqual(JSON.parse(escaped));
    }
  });

  it("refuses exactly what is nested too deeply, wherever it is", () => {
    for (const depth of [1, MAX_JSON_DEPTH - 1, MAX_JSON_DEPTH]) {
      expect(parse("[".repeat(depth) + "]".repeat(depth))).toBeDefined();
    }
    for (const depth of [MAX_JSON_DEPTH + 1, 1000, 100_000]) {
      expect(refusal("[".repeat(depth) + "]".repeat(depth)).message).toContain("nested");
      expect(refusal(`[1,{"a":${'{"b":'.repeat(depth)}1${"}".repeat(depth)}}]`).message).toContain("nested");
    }
  });

  it.each([
    '{"__proto__":1}',
    '{"a":[{"__proto__":{"b":1}}]}',
    '{"\\u005f_proto__":1}',
    '{"\\u005F\\u005f\\u0070\\u0072\\u006f\\u0074\\u006f\\u005f\\u005f":1}',
    '{"a":"\\u0041","\\u005f_proto__":{}}',
  ])("refuses a key that reaches a prototype: %s", (text) => {
    expect(refusal(text)).toMatchObject({ kind: "invalid_argument" });
    expect(Object.hasOwn(Object.prototype, "b")).toBe(false);
  });

  it("lets texts be called __proto__: only keys are dangerous", () => {
    expect(parse('{"a":"__proto__","b":"\\u005f_proto__"}')).toEqual({ a: "__proto__", b: "__proto__" });
  });

  it.each([
    "",
    " ",
    "{",
    "[1,]",
    "nul",
    "{'a':1}",
    '"secret',
    "secret",
    '{"secret":}',
    "NaN",
    "01",
    "]".repeat(100) + "[".repeat(100),
  ])("refuses what is no JSON without quoting it: %j", (text) => {
    const error = refusal(text);
    expect(error.kind).toBe("invalid_argument");
    expect(JSON.stringify(error.toMessage())).not.toContain("secret");
  });

  it("reads views into larger buffers at their place", () => {
    const batch = Buffer.from('garbage{"a":1}garbage');
    expect(parseUntrustedJson(batch.subarray(7, 14))).toEqual({ a: 1 });
  });
});

describe("isNestedDeeper", () => {
  it("counts as deep as the parsed value is", () => {
    const next = numbers(11);
    for (let round = 0; round < 2000; round += 1) {
      const value = randomValue(next, 8);
      const text = Buffer.from(JSON.stringify(value));
      const depth = depthOf(value);
      expect(isNestedDeeper(text, depth)).toBe(false);
      if (depth > 0) expect(isNestedDeeper(text, depth - 1)).toBe(true);
    }
  });
});
