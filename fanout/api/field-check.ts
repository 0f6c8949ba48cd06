/**
 * Checks of what comes from outside, each naming the field at fault by its path in the contract
 * ("items[3].event.location.latitude"). Decoded protobuf is well-formed, not valid: numbers may be NaN,
 * enums unknown, text of any length. What a caller wrote is never repeated in the error.
 */
import { GatewayError } from "#proto/errors.js";
import { isIdentifier, parseChannelName, type Channel } from "#fanout/channel/channel.js";
import { CHANNEL_KINDS, type ChannelKind } from "#fanout/channel/channel-kinds.js";

const DEFAULT_APP = "default";
const IDENTIFIER_RULE = "has 1 to 128 of A-Z a-z 0-9 _ . @ | + = -";
/** Objects and lists within each other; the contract's readers stop at 100 messages, which is a little more. */
export const MAX_DATA_DEPTH = 32;
const CONTROL_CHARACTER = /[\u0000-\u001f\u007f]/;

export class FieldCheck {
  constructor(readonly path: string) {}

  at(name: string): FieldCheck {
    return new FieldCheck(this.#pathOf(name));
  }

  fail(name: string, message: string): never {
    throw new GatewayError("invalid_argument", message, { field: this.#pathOf(name) });
  }

  /** Of work that names the fields of what is asked for here by themselves: its errors get their whole path. */
  async tellPath<T>(work: Promise<T>): Promise<T> {
    try {
      return await work;
    } catch (thrown) {
      if (!(thrown instanceof GatewayError) || thrown.field === undefined) throw thrown;
      const { kind, message, retryAfterMs, cause } = thrown;
      throw new GatewayError(kind, message, {
        field: this.#pathOf(thrown.field),
        ...(retryAfterMs !== undefined && { retryAfterMs }),
        cause,
      });
    }
  }

  app(name: string, value: string): string {
    if (value === "") return DEFAULT_APP;
    this.identifier(name, value);
    return value;
  }

  identifier(name: string, value: string): void {
    if (!isIdentifier(value)) this.fail(name, `it must be given, and ${IDENTIFIER_RULE}`);
  }

  optionalIdentifier(name: string, value: string): void {
    if (value !== "" && !isIdentifier(value)) this.fail(name, `where it is given, it ${IDENTIFIER_RULE}`);
  }

  /** A word or line of the caller's own choosing. */
  line(name: string, value: string, maxCharacters: number): void {
    if (value === "") this.fail(name, "it must be given");
    this.optionalLine(name, value, maxCharacters);
  }

  optionalLine(name: string, value: string, maxCharacters: number): void {
    // Two UTF-16 units at most for a character: no need to take a long text apart.
    if (value.length > 2 * maxCharacters || Array.from(value).length > maxCharacters) {
      this.fail(name, `it has at most ${maxCharacters} characters`);
    }
    if (CONTROL_CHARACTER.test(value)) this.fail(name, "it has no control characters");
  }

  range(name: string, value: number, bounds: { readonly from: number; readonly to: number }): void {
    if (!(value >= bounds.from && value <= bounds.to)) {
      this.fail(name, `it must be a number from ${bounds.from} to ${bounds.to}`);
    }
  }

  optionalRange(
    name: string,
    value: number | undefined,
    bounds: { readonly from: number; readonly to: number },
  ): void {
    if (value !== undefined) this.range(name, value, bounds);
  }

  /** Free data: what every reader can read, and JSON can say. */
  data(name: string, value: Readonly<Record<string, unknown>> | undefined): void {
    if (value !== undefined) this.#dataValue(name, value, 1);
  }

  /** A channel by name, of a kind that exists. */
  channel(name: string, app: string, value: string): { channel: Channel; kind: ChannelKind } {
    const channel = parseChannelName(app, value, this.#pathOf(name));
    const kind = CHANNEL_KINDS.get(channel.kind);
    if (kind === undefined) {
      throw new GatewayError("not_found", `there is no such kind of channel`, { field: this.#pathOf(name) });
    }
    return { channel, kind };
  }

  #dataValue(name: string, value: unknown, depth: number): void {
    if (typeof value === "number" && !Number.isFinite(value)) this.fail(name, "its numbers must be finite");
    if (value === undefined) this.fail(name, "a list in it has a value without content");
    if (typeof value !== "object" || value === null) return;
    if (depth > MAX_DATA_DEPTH) this.fail(name, `it may be ${MAX_DATA_DEPTH} levels deep`);
    const inner: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
    for (const each of inner) this.#dataValue(name, each, depth + 1);
  }

  #pathOf(name: string): string {
    if (this.path === "") return name;
    return name === "" ? this.path : `${this.path}.${name}`;
  }
}

/** Checks the length of a batch. */
export function checkBatch(field: string, items: readonly unknown[], maxItems: number): void {
  if (items.length >= 1 && items.length <= maxItems) return;
  throw new GatewayError("invalid_argument", `a call has 1 to ${maxItems} of them, not ${items.length}`, {
    field,
  });
}
