/**
 * The kinds of values that variables take. A kind says in words what it expects, to finish the sentence
 * "… must be", and reads a text into a value or says that it is none. Numbers carry their bounds; durations
 * and sizes carry their units, because a bare number is read differently by everyone.
 */
export interface ValueKind<T> {
  /** Finishes "must be …". */
  readonly expects: string;
  /** `undefined` where the text is no such value. Texts are trimmed and never empty. */
  parse(text: string, files: FileReader): T | undefined;
}

/** Reads a file that a variable names; throws where it cannot. */
export type FileReader = (path: string) => string;

export interface HostAndPort {
  readonly host: string;
  readonly port: number;
}

export function text(expects = "a text", pattern = /^[^\0]{1,4096}$/): ValueKind<string> {
  return { expects, parse: (value) => (pattern.test(value) ? value : undefined) };
}

export function secret({ minBytes }: { readonly minBytes: number }): ValueKind<string> {
  return {
    expects: `at least ${minBytes} bytes long, best a random text as from \`openssl rand -base64 48\``,
    parse: (value) => (Buffer.byteLength(value) >= minBytes ? value : undefined),
  };
}

export function oneOf<const T extends string>(...values: readonly T[]): ValueKind<T> {
  return { expects: `one of ${values.join(", ")}`, parse: (value) => values.find((each) => each === value) };
}

export const trueOrFalse: ValueKind<boolean> = {
  expects: "true or false",
  parse(value) {
    if (/^(true|1|yes|on)$/i.test(value)) return true;
    return /^(false|0|no|off)$/i.test(value) ? false : undefined;
  },
};

export function integer({ min, max }: { readonly min: number; readonly max: number }): ValueKind<number> {
  return {
    expects: `a whole number from ${min} to ${max}`,
    parse: (value) => (/^\d{1,15}$/.test(value) ? within(Number(value), min, max) : undefined),
  };
}

export const port: ValueKind<number> = { ...integer({ min: 0, max: 65_535 }), expects: "a port, 0 to 65535" };

const DURATION_UNITS_MS = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Read as milliseconds. */
export function duration({ min, max }: { readonly min: string; readonly max: string }): ValueKind<number> {
  const [minMs, maxMs] = [parseUnits(min, DURATION_UNITS_MS), parseUnits(max, DURATION_UNITS_MS)];
  if (minMs === undefined || maxMs === undefined) throw new Error(`${min} to ${max} are no durations`);
  return {
    expects: `a duration from ${min} to ${max}, as 500ms, 30s, 5m or 1h`,
    parse: (value) => within(parseUnits(value, DURATION_UNITS_MS), minMs, maxMs),
  };
}

/** Also 0, which needs no unit: the bounds are those of what is not off. */
export function orZero(kind: ValueKind<number>): ValueKind<number> {
  return {
    expects: `0, or ${kind.expects}`,
    parse: (value, files) => (/^0(ms|s|m|h|d)?$/.test(value) ? 0 : kind.parse(value, files)),
  };
}

export interface Rate {
  readonly count: number;
  readonly windowMs: number;
}

/** So many in so long. Nothing means "none" or "no limit": who wants a high limit says how high. */
export const rate: ValueKind<Rate> = {
  expects: "a rate from 1/1d to 1000000000/1s, as 100/60s or 50/1m",
  parse(value) {
    const [, digits = "", per = ""] = /^(\d{1,10})\/(\d{1,9}[a-z]{1,2})$/.exec(value) ?? [];
    const count = within(Number(digits), 1, 1_000_000_000);
    const windowMs = within(parseUnits(per, DURATION_UNITS_MS), 1000, DURATION_UNITS_MS.d);
    return count === undefined || windowMs === undefined ? undefined : { count, windowMs };
  },
};

const SIZE_UNITS_BYTES = { "": 1, B: 1, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30 };

/** Read as bytes. */
export function size({ min, max }: { readonly min: string; readonly max: string }): ValueKind<number> {
  const [minBytes, maxBytes] = [parseUnits(min, SIZE_UNITS_BYTES), parseUnits(max, SIZE_UNITS_BYTES)];
  if (minBytes === undefined || maxBytes === undefined) throw new Error(`${min} to ${max} are no sizes`);
  return {
    expects: `a size from ${min} to ${max}, in bytes or as 64KiB or 1MiB`,
    parse: (value) => within(parseUnits(value, SIZE_UNITS_BYTES), minBytes, maxBytes),
  };
}

/** Values separated by commas; at least one. */
export function listOf<T>(item: ValueKind<T>, expects: string): ValueKind<readonly T[]> {
  return {
    expects,
    parse(value, files) {
      const items: T[] = [];
      for (const part of value.split(",")) {
        const parsed = part.trim() === "" ? undefined : item.parse(part.trim(), files);
        if (parsed === undefined) return undefined;
        items.push(parsed);
      }
      return items;
    },
  };
}

export const hostAndPort: ValueKind<HostAndPort> = {
  expects: "host:port",
  parse(value) {
    const [, bracketed, name, digits = ""] =
      /^(?:\[([0-9a-fA-F:.]+)\]|([\w.-]+)):(\d{1,5})$/.exec(value) ?? [];
    const host = bracketed ?? name;
    const number = within(Number(digits), 1, 65_535);
    return host === undefined || number === undefined ? undefined : { host, port: number };
  },
};

export const hostsAndPorts = listOf(hostAndPort, "a list host:port,host:port");

export function url(...schemes: readonly string[]): ValueKind<string> {
  return {
    expects: `a URL that starts with ${schemes.map((scheme) => `${scheme}://`).join(" or ")}`,
    parse(value) {
      const parsed = URL.canParse(value) ? new URL(value) : undefined;
      if (parsed === undefined || parsed.hostname === "") return undefined;
      return schemes.includes(parsed.protocol.slice(0, -1)) ? value : undefined;
    },
  };
}

/** The variable names a file; the value is what the file holds. */
export const pemFile: ValueKind<string> = {
  expects: "the path of a PEM file that this process can read",
  parse(path, files) {
    try {
      const content = files(path);
      return content.includes("-----BEGIN ") ? content : undefined;
    } catch {
      return undefined;
    }
  },
};

export const jsonObject: ValueKind<Readonly<Record<string, unknown>>> = {
  expects: 'a JSON object, as {"key": "value"}',
  parse(value) {
    try {
      const parsed: unknown = JSON.parse(value);
      return typeof parsed === "object" && parsed !== null && !Array.isArray(parsed)
        ? { ...parsed }
        : undefined;
    } catch {
      return undefined;
    }
  },
};

function parseUnits(value: string, units: Readonly<Record<string, number>>): number | undefined {
  const [, digits = "", unit = ""] = /^(\d{1,15})([A-Za-z]*)$/.exec(value) ?? [];
  const factor = Object.hasOwn(units, unit) ? units[unit] : undefined;
  return digits === "" || factor === undefined ? undefined : Number(digits) * factor;
}

function within(value: number | undefined, min: number, max: number): number | undefined {
  return value !== undefined && value >= min && value <= max ? value : undefined;
}
