/**
 * What the API counts: calls by method and status code, published items by outcome. Plain integers over
 * closed sets, so that counting costs nothing and labels cannot grow; metrics read them when scraped.
 */
import { status } from "@grpc/grpc-js";

export const API_METHODS = [
  "Publish",
  "PublishStream",
  "Grant",
  "End",
  "ListParticipants",
  "ListConnections",
  "Disconnect",
  "Revoke",
  "ListRevocations",
  "CreateOffer",
  "WithdrawOffer",
  "GetOffer",
  "SendMessages",
  "ListMessages",
  "GetUnread",
  "MarkRead",
  "GetPresence",
  "ListMembers",
  "CountOnline",
  "GetLocations",
  "FindNearby",
  "health",
  "reflection",
] as const;

export type ApiMethodName = (typeof API_METHODS)[number];

export interface CallCount {
  readonly method: ApiMethodName;
  /** As gRPC names it: "OK", "INVALID_ARGUMENT", … */
  readonly code: string;
  readonly count: number;
}

const CODES = Object.values(status).filter((code): code is status => typeof code === "number");

/** The name under which a method's path is counted. */
export function methodNameOf(path: string): ApiMethodName {
  if (path.startsWith("/grpc.health.")) return "health";
  const name = path.slice(path.lastIndexOf("/") + 1);
  return API_METHODS.find((method) => method === name) ?? "reflection";
}

export class ApiCounters {
  readonly publishItems = { published: 0, repeated: 0, stale: 0, failed: 0 };
  readonly #calls = new Map(API_METHODS.map((method) => [method, CODES.map(() => 0)]));

  countCall(method: ApiMethodName, code: status): void {
    const counts = this.#calls.get(method);
    const before = counts?.[code];
    if (counts !== undefined && before !== undefined) counts[code] = before + 1;
  }

  callCount(method: ApiMethodName, code: status): number {
    return this.#calls.get(method)?.[code] ?? 0;
  }

  /** Every method and code that occurred. */
  callCounts(): CallCount[] {
    return API_METHODS.flatMap((method) =>
      CODES.map((code) => ({ method, code: status[code], count: this.callCount(method, code) })),
    ).filter(({ count }) => count > 0);
  }
}
