import { describe, expect, it } from "vitest";
import { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { channelOf } from "#fanout/channel/channel.js";
import type { Participation, Relation } from "#fanout/directory/directory.js";
import {
  capabilityOf,
  CHAT_KINDS,
  isAble,
  may,
  needsPart,
  OWN_KINDS,
  PART_KINDS,
  PERMISSIONS,
  type Ability,
  type Operation,
} from "./policy.js";

const CAPABILITIES = {
  porter: "worker",
  driver: "worker",
  delivery_partner: "worker",
  customer: "customer",
  rider: "customer",
  restaurant: "merchant",
  merchant: "merchant",
  admin: "admin",
  user: "user",
  anonymous: "anonymous",
} as const;
const RELATIONS: readonly (Relation | undefined)[] = ["owner", "assigned", "member", "merchant", undefined];
const TALKED_IN = ["order", "ride", "booking", "conversation", "group"];

function principal(role: string, app = "default"): Principal {
  return { ...Principal.fromPartial({}), app, userId: "u1", role };
}

describe("a role", () => {
  it.each(Object.entries(CAPABILITIES))("%s has the capability %s", (role, capability) => {
    expect(capabilityOf(role)).toBe(capability);
  });

  it.each(["", "Admin", "admin ", "root", "__proto__", "constructor", "toString"])(
    "%j has none but a user's",
    (role) => {
      expect(capabilityOf(role)).toBe("user");
    },
  );
});

const matrix = Object.keys(CAPABILITIES).flatMap((role) =>
  RELATIONS.flatMap((relation) =>
    [...CHANNEL_KINDS.keys()].flatMap((kind) =>
      ["42", "u1", role].map((id) => ({ role, relation, kind, id })),
    ),
  ),
);

/** The rules in words, beside the table: what each operation needs. */
function expected({ role, relation, kind, id }: (typeof matrix)[number]): Record<Operation, boolean> {
  const isAdmin = role === "admin";
  const isNamed = role !== "anonymous";
  const isTalkedIn = TALKED_IN.includes(kind);
  const isOwn = (kind === "user" || kind === "presence") && id === "u1";
  // A part in a user's own channel is nothing: there is none.
  const hasParts = !["user", "public", "role", "everyone"].includes(kind);
  const isForThem = kind === "everyone" || (kind === "role" && id === role);
  const isTheirs = isOwn || isForThem || (relation !== undefined && hasParts);
  const sees = isAdmin || kind === "public" || (isNamed && isTheirs);
  return {
    join: sees,
    history: sees,
    presence: sees && isNamed,
    publish: isAdmin || (isNamed && isTalkedIn && relation !== undefined),
    confirm: isNamed && isTalkedIn && relation !== undefined,
  };
}

describe("the table of permissions", () => {
  it("has a row for every kind of channel there is, for those who have a name and for admins", () => {
    for (const who of ["named", "admin"] as const) {
      expect(Object.keys(PERMISSIONS[who]).sort()).toEqual([...CHANNEL_KINDS.keys()].sort());
    }
  });

  it.each(matrix)("in $kind:$id as $role who is its $relation", (row) => {
    const channel = channelOf("default", row.kind, row.id);
    const part: Participation | undefined = row.relation && {
      channel,
      userId: "u1",
      relation: row.relation,
      expiresAtMs: 2 ** 50,
    };
    const decided = expected(row);
    for (const [operation, isAllowed] of Object.entries(decided) as [Operation, boolean][]) {
      expect(may(principal(row.role), operation, channel, part), operation).toBe(isAllowed);
      expect(may(principal(row.role, "another-app"), operation, channel, part), operation).toBe(false);
      // What is decided without the directory must not depend on it.
      if (operation !== "confirm" && !needsPart(principal(row.role), channel)) {
        expect(may(principal(row.role), operation, channel, undefined), operation).toBe(isAllowed);
      }
    }
  });

  it.each(["planet", "constructor", "__proto__"])("has nothing of the kind %s", (kind) => {
    const channel = channelOf("default", kind, "1");
    const part = { channel, userId: "u1", relation: "owner", expiresAtMs: 2 ** 50 } as const;
    expect(may(principal("customer"), "publish", channel, part)).toBe(false);
    expect(needsPart(principal("customer"), channel)).toBe(false);
  });

  it("asks for no part of admins, of nobody, of public channels and of one's own", () => {
    const asked = (role: string, kind: string, id = "42") =>
      needsPart(principal(role), channelOf("default", kind, id));
    for (const kind of CHANNEL_KINDS.keys()) {
      expect([asked("admin", kind), asked("anonymous", kind)]).toEqual([false, false]);
      expect(asked("customer", kind)).toBe(!["user", "public", "role", "everyone"].includes(kind));
    }
    expect(asked("customer", "presence", "u1")).toBe(false);
  });

  it("says where messages are said, and what is followed unasked", () => {
    expect([...CHAT_KINDS].sort()).toEqual([...TALKED_IN].sort());
    expect([...OWN_KINDS].sort()).toEqual([...TALKED_IN, "notification"].sort());
    expect([...PART_KINDS].sort()).toEqual([...TALKED_IN, "notification", "presence"].sort());
  });
});

describe("beside channels", () => {
  const WHO: Readonly<Record<Ability, readonly string[]>> = {
    sendLocations: ["porter", "driver", "delivery_partner"],
    answerOffers: ["porter", "driver", "delivery_partner"],
    setAvailability: ["porter", "driver", "delivery_partner"],
    moderate: ["admin"],
    findNearby: ["admin"],
    manageDevices: Object.keys(CAPABILITIES).filter((role) => role !== "anonymous"),
    startConversations: Object.keys(CAPABILITIES).filter((role) => role !== "anonymous"),
    startAnyConversation: ["admin"],
  };

  it.each(Object.entries(WHO) as [Ability, readonly string[]][])("%s is for %j", (ability, roles) => {
    for (const role of Object.keys(CAPABILITIES)) {
      expect(isAble(capabilityOf(role), ability), role).toBe(roles.includes(role));
    }
  });
});
