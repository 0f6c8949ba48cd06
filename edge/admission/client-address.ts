/**
 * The address that limits count by. Each proxy in front adds the peer it saw to the right end of
 * `X-Forwarded-For`; so with N trusted proxies the Nth entry from the right is the client, and everything
 * left of it is the client's own invention. IPv6 addresses count by their /64, which one subscriber has
 * whole; IPv4-mapped ones are the IPv4 address. Pure.
 */
import { isIPv4, isIPv6 } from "node:net";

export interface Peer {
  /** The socket's other end; `undefined` where it is gone already. */
  readonly remoteAddress: string | undefined;
  /** The request's `X-Forwarded-For`. */
  readonly forwardedFor: string | readonly string[] | undefined;
  /** How many proxies in front of the gateway are ours. 0: the header is ignored. */
  readonly trustedProxyHops: number;
}

/** All whose address cannot be told share one. */
export const UNKNOWN_ADDRESS = "unknown";

export function clientAddress({ remoteAddress, forwardedFor, trustedProxyHops }: Peer): string {
  const peer = normalizeAddress(remoteAddress ?? "") ?? UNKNOWN_ADDRESS;
  if (trustedProxyHops <= 0 || forwardedFor === undefined) return peer;
  const header = typeof forwardedFor === "string" ? forwardedFor : forwardedFor.join(",");
  // A shorter list did not come through all proxies: then only the peer's own address is certain.
  const entry = entryFromRight(header, trustedProxyHops);
  return (entry === undefined ? undefined : normalizeAddress(withoutPort(entry))) ?? peer;
}

/** `undefined` where the text is no IP address. */
export function normalizeAddress(text: string): string | undefined {
  if (isIPv4(text)) return text;
  const [address = ""] = text.split("%", 1);
  if (!isIPv6(address)) return undefined;
  const groups = groupsOf(address);
  const isMapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff;
  if (isMapped) {
    const [high = 0, low = 0] = groups.slice(6);
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join(".");
  }
  return `${groups
    .slice(0, 4)
    .map((group) => group.toString(16))
    .join(":")}::/64`;
}

/** The header may be long and is a stranger's: it is read from the right and no further than needed. */
function entryFromRight(header: string, position: number): string | undefined {
  let end = header.length;
  for (let passed = 1; passed < position; passed++) {
    if (end <= 0) return undefined;
    end = header.lastIndexOf(",", end - 1);
  }
  if (end < 0) return undefined;
  const start = end === 0 ? 0 : header.lastIndexOf(",", end - 1) + 1;
  const entry = header.slice(start, end).trim();
  return entry === "" ? undefined : entry;
}

/** Some proxies write `192.0.2.1:4711` and `[2001:db8::1]:4711`. */
function withoutPort(entry: string): string {
  const bracketed = /^\[([^\]]*)\](?::\d+)?$/.exec(entry)?.[1];
  if (bracketed !== undefined) return bracketed;
  const colon = entry.indexOf(":");
  return colon !== -1 && colon === entry.lastIndexOf(":") ? entry.slice(0, colon) : entry;
}

/** The eight 16-bit groups of a valid IPv6 address, with `::` and a dotted end written out. */
function groupsOf(address: string): number[] {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(address);
  const hexadecimal =
    dotted === null
      ? address
      : `${dotted[1] ?? ""}${groupText(dotted[2], dotted[3])}:${groupText(dotted[4], dotted[5])}`;
  const [head = "", tail] = hexadecimal.split("::");
  const before = parseGroups(head);
  const after = parseGroups(tail ?? "");
  const zeros = new Array<number>(Math.max(0, 8 - before.length - after.length)).fill(0);
  return [...before, ...zeros, ...after];
}

function groupText(high = "0", low = "0"): string {
  return (Number(high) * 256 + Number(low)).toString(16);
}

function parseGroups(text: string): number[] {
  return text === "" ? [] : text.split(":").map((group) => Number.parseInt(group, 16));
}
