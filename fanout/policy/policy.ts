/**
 * Who may do what: pure decisions from a principal's role and their part in a channel. What is not allowed
 * here is denied.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Participation } from "#fanout/directory/directory.js";

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

/** Whether the decision needs the directory: asking it costs a round trip. */
export function needsParticipation(principal: Principal, channel: Channel): boolean {
  return capabilityOf(principal.role) !== "admin" && channel.kind !== "user";
}
