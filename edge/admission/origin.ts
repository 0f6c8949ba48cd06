/**
 * Which web pages may open sockets here. Browsers send the page's origin with every handshake and a page
 * cannot forge it; apps on phones and services send none and are let through, since for them the token is
 * what counts. Patterns: `*`, an exact origin, or `https://*.example.com` (subdomains of any depth, not
 * the domain itself). Scheme and port always count.
 */
interface Origin {
  readonly scheme: string;
  readonly host: string;
  /** Empty for the scheme's own. */
  readonly port: string;
}

/** Scheme, host (a name with an optional leading `*.`, or an IPv6 address), port; nothing after them. */
const ORIGIN = /^([a-z][a-z0-9+.-]*):\/\/((?:\*\.)?[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::(\d{1,5}))?$/;
const MAX_ORIGIN_LENGTH = 512;
const OWN_PORTS: ReadonlyMap<string, string> = new Map([
  ["http", "80"],
  ["https", "443"],
]);

export class OriginList {
  readonly #any: boolean;
  readonly #exact = new Set<string>();
  readonly #wildcards: Origin[] = [];

  /** Throws an error that names the pattern and the variable where one cannot be read. */
  constructor(patterns: readonly string[]) {
    this.#any = patterns.includes("*");
    for (const pattern of patterns) {
      if (pattern !== "*") this.#add(pattern);
    }
  }

  /** `header` is the request's `Origin`; `undefined` where it has none. */
  allows(header: string | undefined): boolean {
    if (this.#any || header === undefined) return true;
    // Also "null", which is what sandboxed frames and files say, parses as no origin.
    const origin = parse(header);
    if (origin === undefined || origin.host.startsWith("*")) return false;
    if (this.#exact.has(textOf(origin))) return true;
    return this.#wildcards.some((wildcard) => isBelow(origin, wildcard));
  }

  #add(pattern: string): void {
    const origin = parse(pattern.endsWith("/") ? pattern.slice(0, -1) : pattern);
    if (origin === undefined) {
      throw new Error(
        `CORS_ORIGIN holds "${pattern}"; it takes *, origins as https://app.example.com, ` +
          "and subdomains as https://*.example.com, separated by commas",
      );
    }
    if (origin.host.startsWith("*")) this.#wildcards.push({ ...origin, host: origin.host.slice(1) });
    else this.#exact.add(textOf(origin));
  }
}

function parse(text: string): Origin | undefined {
  if (text.length > MAX_ORIGIN_LENGTH) return undefined;
  const [, scheme, host, port = ""] = ORIGIN.exec(text.toLowerCase()) ?? [];
  if (scheme === undefined || host === undefined) return undefined;
  return { scheme, host, port: OWN_PORTS.get(scheme) === port ? "" : port };
}

function textOf({ scheme, host, port }: Origin): string {
  return `${scheme}://${host}:${port}`;
}

/** The wildcard's host starts with the dot, so `evilexample.com` is not below `.example.com`. */
function isBelow(origin: Origin, wildcard: Origin): boolean {
  return (
    origin.scheme === wildcard.scheme &&
    origin.port === wildcard.port &&
    origin.host.length > wildcard.host.length &&
    origin.host.endsWith(wildcard.host)
  );
}
