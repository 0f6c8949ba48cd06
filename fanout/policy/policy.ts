/**
 * Who may do what, as two tables: in channels (`PERMISSIONS`), and beside them (`ABILITIES`). All that a session asks
 * for is decided here, by `may` and `isAble`, from its role and its part in the channel; where parts come from is
 * `relations.ts`. What is not in a table is denied, in the principal's own app; everything is in any other.
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

/** What can be done in a channel; `confirm`: give receipts for what is said there. */
export type Operation = "join" | "publish" | "history" | "presence" | "confirm";

/** By what somebody is tied to a channel: their part in it, its being theirs, what they share, or nothing at all. */
export type Tie = Relation | "shared" | "self" | "any";

type Operations = Partial<Record<Operation, true>>;
export type TiesOf = Partial<Record<Tie, Operations>>;
type Who = "named" | "admin" | "anonymous";

const SEE = { join: true, history: true, presence: true } as const;
const TALK = { ...SEE, publish: true, confirm: true } as const;
const READ = { join: true, history: true } as const;
const RULE = { ...SEE, publish: true } as const;
/** Marks are of those who take part: an admin who looks on has read nothing. */
const RULE_TALK = { any: RULE, owner: TALK, assigned: TALK, member: TALK, merchant: TALK } as const;

/**
 * Capability × kind of channel × tie → what one may. `SEE`: join, read the history, see who is there. `TALK`: the same,
 * publish, and confirm. What comes through `user:`, `notification:`, `role:`, `everyone:` and `public:` is taken for the services' own
 * word, so not even one's own is written to. `presence:<user>` is joined by those who share a channel with the user.
 */
// prettier-ignore
export const PERMISSIONS: Readonly<Record<Who, Readonly<Record<string, TiesOf>>>> = {
  named: {
    //              owner        assigned        member        merchant        shared       self       any
    order:        { owner: TALK, assigned: TALK, member: TALK, merchant: TALK                                     },
    ride:         { owner: TALK, assigned: TALK, member: TALK, merchant: TALK                                     },
    booking:      { owner: TALK, assigned: TALK, member: TALK, merchant: TALK                                     },
    conversation: { owner: TALK, assigned: TALK, member: TALK, merchant: TALK                                     },
    group:        { owner: TALK, assigned: TALK, member: TALK, merchant: TALK                                     },
    notification: { owner: SEE,  assigned: SEE,  member: SEE,  merchant: SEE                                      },
    presence:     {                                                             shared: SEE, self: SEE            },
    user:         {                                                                          self: SEE            },
    role:         {                                                                          self: SEE            },
    everyone:     {                                                                                     any: SEE  },
    public:       {                                                                                     any: SEE  },
  },
  admin: {
    order: RULE_TALK, ride: RULE_TALK, booking: RULE_TALK, conversation: RULE_TALK, group: RULE_TALK,
    notification: { any: RULE }, presence: { any: RULE }, user: { any: RULE }, public: { any: RULE },
    role: { any: RULE }, everyone: { any: RULE },
  },
  anonymous: {
    public:       {                                                                                     any: READ },
  },
};

/** What is not done in a channel. `startConversations`: with whomever, where they are open to all who have a name. */
export type Ability =
  | "sendLocations"
  | "answerOffers"
  | "setAvailability"
  | "moderate"
  | "findNearby"
  | "manageDevices"
  | "startConversations"
  | "startAnyConversation";

// prettier-ignore
export const ABILITIES: Readonly<Record<Ability, readonly Capability[]>> = {
  sendLocations:        ["worker"],
  answerOffers:         ["worker"],
  setAvailability:      ["worker"],
  moderate:             [                                          "admin"],
  findNearby:           [                                          "admin"],
  manageDevices:        ["worker", "customer", "merchant", "user", "admin"],
  startConversations:   ["worker", "customer", "merchant", "user", "admin"],
  startAnyConversation: [                                          "admin"],
};

/** Whether somebody may do this in the channel, with the part that they have in it. */
export function may(
  principal: Principal,
  operation: Operation,
  channel: Channel,
  part: Participation | undefined,
): boolean {
  if (channel.app !== principal.app) return false;
  const ties = tiesFor(principal, channel);
  return tiesThatHold(principal, channel, part).some((tie) => ties[tie]?.[operation] === true);
}

/** Who has a name marks what they have seen, where they may follow. */
export function mayMarkSeen(
  principal: Principal,
  channel: Channel,
  part: Participation | undefined,
): boolean {
  return capabilityOf(principal.role) !== "anonymous" && may(principal, "join", channel, part);
}

/**
 * Whether the decision needs to know the part: to ask for it costs a round trip. Who needs none for all but `confirm`
 * is asked for it there alone (`chat-access.ts`).
 */
export function needsPart(principal: Principal, channel: Channel): boolean {
  const ties = tiesFor(principal, channel);
  const held = tiesThatHold(principal, channel, undefined);
  const isOpen = (operation: Operation): boolean => held.some((tie) => ties[tie]?.[operation] === true);
  return BY_PART.some((tie) =>
    DECIDED.some((operation) => ties[tie]?.[operation] === true && !isOpen(operation)),
  );
}

const BY_PART: readonly Tie[] = ["owner", "assigned", "member", "merchant", "shared"];
const DECIDED: readonly Operation[] = ["join", "publish", "history", "presence"];

export function isAble(capability: Capability, ability: Ability): boolean {
  return ABILITIES[ability].includes(capability);
}

/** The kinds of channels in which messages are said: those in which who has a part may publish. */
export const CHAT_KINDS: ReadonlySet<string> = kindsWhere("publish");

/** The kinds that one can be granted a part in, and so be brought into unasked (`follow_own`). */
export const OWN_KINDS: ReadonlySet<string> = kindsWhere("join");

/** The kinds in which a part means something. */
export const PART_KINDS: ReadonlySet<string> = new Set(
  Object.entries(PERMISSIONS.named).flatMap(([kind, ties]) =>
    BY_PART.some((tie) => ties[tie]) ? [kind] : [],
  ),
);

function kindsWhere(operation: Operation): ReadonlySet<string> {
  const rows = Object.entries(PERMISSIONS.named);
  return new Set(rows.filter(([, ties]) => ties.owner?.[operation] === true).map(([kind]) => kind));
}

function tiesFor({ role }: Principal, { kind }: Channel): TiesOf {
  const capability = capabilityOf(role);
  const rows = PERMISSIONS[capability === "admin" || capability === "anonymous" ? capability : "named"];
  return Object.hasOwn(rows, kind) ? (rows[kind] ?? {}) : {};
}

function tiesThatHold(
  { userId, role }: Principal,
  { kind, id }: Channel,
  part: Participation | undefined,
): readonly Tie[] {
  const ties: Tie[] = ["any"];
  if ((kind === "user" || kind === "presence") && id === userId) ties.push("self");
  if (kind === "role" && id === role) ties.push("self");
  // Whoever shares a channel with a user has a part in their presence by that, and so has whom a service grants it.
  if (part !== undefined) ties.push(kind === "presence" ? "shared" : part.relation);
  return ties;
}
