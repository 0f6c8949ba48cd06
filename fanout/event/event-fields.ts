/**
 * Reads the fields of an event's data; what is missing or wrong makes the record unreadable. Which fields
 * were read is remembered, so that the rest can be passed on as it is.
 */
import { isIdentifier } from "#fanout/channel/channel.js";
import { UnreadableRecord } from "./event-source.js";
import { isPlainObject } from "./json-guard.js";

const MAX_WORD_LENGTH = 64;
const MAX_TEXT_LENGTH = 8_192;

interface IntegerBounds {
  readonly from: number;
  readonly to: number;
}

export class EventFields {
  readonly #data: Readonly<Record<string, unknown>>;
  readonly #read = new Set<string>();

  constructor(data: Readonly<Record<string, unknown>>) {
    this.#data = data;
  }

  /** The first of these names that is there, as an id. Whole numbers count as ids too: many services have such. */
  id(...names: [string, ...string[]]): string {
    const id = this.optionalId(...names);
    if (id === undefined) throw wrong(names.join(" or "), "given: an id");
    return id;
  }

  optionalId(...names: string[]): string | undefined {
    for (const name of names) {
      const value = this.#take(name);
      if (value === undefined) continue;
      const id = typeof value === "number" && Number.isSafeInteger(value) ? String(value) : value;
      if (typeof id !== "string" || !isIdentifier(id)) {
        throw wrong(name, "1 to 128 of A-Z a-z 0-9 _ . @ | + = -");
      }
      return id;
    }
    return undefined;
  }

  /** As `optionalId`, of what is not this product's alone: it is passed on, and anything else than an id is none. */
  idPassedOn(...names: readonly string[]): string | undefined {
    const values = names.map((name) => (Object.hasOwn(this.#data, name) ? this.#data[name] : undefined));
    const ids = values.map((value) => (Number.isSafeInteger(value) ? String(value) : value));
    return ids.find((id): id is string => typeof id === "string" && isIdentifier(id));
  }

  /** A short word, as a status is. */
  word(name: string, fallback?: string): string {
    const value = this.#text(name, MAX_WORD_LENGTH) ?? fallback;
    if (value === undefined || value === "") throw wrong(name, "given");
    return value;
  }

  /** Text for people; empty where there is none. */
  text(name: string, maxLength = MAX_TEXT_LENGTH): string {
    return this.#text(name, maxLength) ?? "";
  }

  /** The first of these names that is there, as a list of ids. */
  ids(maxItems: number, ...names: [string, ...string[]]): readonly string[] {
    for (const name of names) {
      const value = this.#take(name);
      if (value === undefined) continue;
      const rule = `1 to ${maxItems} ids, each 1 to 128 of A-Z a-z 0-9 _ . @ | + = -`;
      if (!Array.isArray(value) || value.length < 1 || value.length > maxItems) throw wrong(name, rule);
      return value.map((each: unknown) => {
        const id = typeof each === "number" && Number.isSafeInteger(each) ? String(each) : each;
        if (typeof id !== "string" || !isIdentifier(id)) throw wrong(name, rule);
        return id;
      });
    }
    throw wrong(names.join(" or "), "given: a list of ids");
  }

  /** 0 where it is not there. */
  integer(name: string, bounds: IntegerBounds): number {
    return this.optionalInteger(name, bounds) ?? 0;
  }

  requiredInteger(name: string, bounds: IntegerBounds): number {
    const value = this.optionalInteger(name, bounds);
    if (value === undefined) throw wrong(name, "given: a whole number");
    return value;
  }

  optionalInteger(name: string, bounds: IntegerBounds): number | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    const isWithin = typeof value === "number" && value >= bounds.from && value <= bounds.to;
    if (!isWithin || !Number.isSafeInteger(value))
      throw wrong(name, `a whole number from ${bounds.from} to ${bounds.to}`);
    return value;
  }

  /** False where it is not there. */
  flag(name: string): boolean {
    const value = this.#take(name) ?? false;
    if (typeof value !== "boolean") throw wrong(name, "true or false");
    return value;
  }

  object(name: string): Readonly<Record<string, unknown>> | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (!isPlainObject(value)) throw wrong(name, "an object");
    return value;
  }

  /** Everything that nobody read; undefined where there is nothing. */
  rest(): Record<string, unknown> | undefined {
    const entries = Object.entries(this.#data).filter(([name]) => !this.#read.has(name));
    return entries.length > 0 ? Object.fromEntries(entries) : undefined;
  }

  #text(name: string, maxLength: number): string | undefined {
    const value = this.#take(name);
    if (value === undefined) return undefined;
    if (typeof value !== "string" || value.length > maxLength) {
      throw wrong(name, `a string of ${maxLength} characters at most`);
    }
    return value;
  }

  #take(name: string): unknown {
    if (!Object.hasOwn(this.#data, name)) return undefined;
    this.#read.add(name);
    return this.#data[name] ?? undefined;
  }
}

function wrong(name: string, wanted: string): UnreadableRecord {
  return new UnreadableRecord(`data.${name} must be ${wanted}`);
}
