/**
 * Who may do what: pure decisions from a principal's role and their part in a channel. What is not allowed
 * here is denied.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Participation, Relation } from "#fanout/directory/directory.js";

/** What a role is able to do; several roles share a capability. */
export type Capability = "worker" | "customer" | "merchant" | "admin" | "user";

const CAPABILITIES: Readonly<Record<string, Capability>> = {
  porter: "worker",
  driver: "worker",
  delivery_partner: "worker",
  customer: "customer",
  rider: "customer",
  restaurant: "merchant",
  merchant: "merchant",
  admin: "admin",
};

export function capabilityOf(role: string): Capability {
  return Object.hasOwn(CAPABILITIES, role) ? (CAPABILITIES[role] ?? "user") : "user";
}

/** Admins follow any channel, users their own; all others need a part in it. */
export function mayFollow(
  principal: Principal,
  channel: Channel,
  participation: Participation | undefined,
): boolean {
  if (channel.app !== principal.app) return false;
  if (capabilityOf(principal.role) === "admin") return true;
  if (channel.kind === "user") return channel.id === principal.userId;
  return participation !== undefined;
}

const EVERYBODY_IN_IT: ReadonlySet<Relation> = new Set<Relation>(["owner", "assigned", "member", "merchant"]);
const NOBODY: ReadonlySet<Relation> = new Set<Relation>();

/** Who may publish in a channel of this kind, by their part in it. A kind that is missing here is nobody's. */
const PUBLISHERS: ReadonlyMap<string, ReadonlySet<Relation>> = new Map([
  ["order", EVERYBODY_IN_IT],
  ["ride", EVERYBODY_IN_IT],
  ["booking", EVERYBODY_IN_IT],
  ["conversation", EVERYBODY_IN_IT],
  ["group", EVERYBODY_IN_IT],
  // What comes through these is taken for the services' own word; so not even one's own is written to.
  ["user", NOBODY],
  ["notification", NOBODY],
]);

/** Admins publish in any channel of their app, others in those that they have a part in. */
export function mayPublish(
  principal: Principal,
  channel: Channel,
  participation: Participation | undefined,
): boolean {
  if (channel.app !== principal.app) return false;
  if (capabilityOf(principal.role) === "admin") return true;
  if (participation === undefined) return false;
  return PUBLISHERS.get(channel.kind)?.has(participation.relation) ?? false;
}

/** Whether the decision needs the directory: asking it costs a round trip. */
export function needsParticipation(principal: Principal, channel: Channel): boolean {
  return capabilityOf(principal.role) !== "admin" && channel.kind !== "user";
}
