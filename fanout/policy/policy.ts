/**
 * Who may do what: pure decisions from a principal's role and their part in a channel. What is not allowed
 * here is denied.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Participation, Relation } from "#fanout/directory/directory.js";

/** What a role is able to do; several roles share a capability. */
export type Capability = "worker" | "customer" | "merchant" | "admin" | "user" | "anonymous";

const CAPABILITIES: Readonly<Record<string, Capability>> = {
  porter: "worker",
  driver: "worker",
  delivery_partner: "worker",
  customer: "customer",
  rider: "customer",
  restaurant: "merchant",
  merchant: "merchant",
  admin: "admin",
  // Nobody in particular, where the edge lets them in.
  anonymous: "anonymous",
};

export function capabilityOf(role: string): Capability {
  return Object.hasOwn(CAPABILITIES, role) ? (CAPABILITIES[role] ?? "user") : "user";
}

/** Everybody follows public channels, admins any, users their own; all others need a part in it. */
export function mayFollow(
  principal: Principal,
  channel: Channel,
  participation: Participation | undefined,
): boolean {
  if (channel.app !== principal.app) return false;
  const capability = capabilityOf(principal.role);
  if (capability === "admin" || channel.kind === "public") return true;
  if (capability === "anonymous") return false;
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
  ["public", NOBODY],
  ["presence", NOBODY],
]);

/** Admins publish in any channel of their app, others in those that they have a part in. */
export function mayPublish(
  principal: Principal,
  channel: Channel,
  participation: Participation | undefined,
): boolean {
  if (channel.app !== principal.app) return false;
  const capability = capabilityOf(principal.role);
  if (capability === "admin") return true;
  if (capability === "anonymous") return false;
  if (participation === undefined) return false;
  return PUBLISHERS.get(channel.kind)?.has(participation.relation) ?? false;
}

/**
 * Whether a user is online is seen by who may follow `presence:<user id>`: themselves, and those who share a channel
 * with them; who is in a channel by who may follow it. Nobody without an account sees either.
 */
export function maySeePresence(
  principal: Principal,
  channel: Channel,
  participation: Participation | undefined,
): boolean {
  return capabilityOf(principal.role) !== "anonymous" && mayFollow(principal, channel, participation);
}

/** Only workers answer offers, and only those that were made to them. */
export function mayAnswerOffers(principal: Principal): boolean {
  return capabilityOf(principal.role) === "worker";
}

/** The kinds of channels in which messages are said: those in which who has a part may publish. */
export const CHAT_KINDS: ReadonlySet<string> = new Set(
  [...PUBLISHERS].filter(([, relations]) => relations !== NOBODY).map(([kind]) => kind),
);

/** Admins write to anybody; others to any user of their app where conversations are open to all who have a name. */
export function mayBeginConversation(
  principal: Principal,
  { isOpen }: { readonly isOpen: boolean },
): boolean {
  const capability = capabilityOf(principal.role);
  return capability === "admin" || (isOpen && capability !== "anonymous");
}

/** Who may edit and delete what others said. */
export function mayModerate(principal: Principal): boolean {
  return capabilityOf(principal.role) === "admin";
}

/** Marks are of those who take part: an admin who looks on has read nothing. */
export function mayGiveReceipts(participation: Participation | undefined): boolean {
  if (participation === undefined) return false;
  return PUBLISHERS.get(participation.channel.kind)?.has(participation.relation) ?? false;
}

/** Whether the decision needs the directory: asking it costs a round trip. */
export function needsParticipation(principal: Principal, channel: Channel): boolean {
  const capability = capabilityOf(principal.role);
  return (
    capability !== "admin" &&
    capability !== "anonymous" &&
    channel.kind !== "user" &&
    channel.kind !== "public"
  );
}
