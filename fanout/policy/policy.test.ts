import { describe, expect, it } from "vitest";
import { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { CHANNEL_KINDS } from "#fanout/channel/channel-kinds.js";
import { channelOf } from "#fanout/channel/channel.js";
import type { Relation } from "#fanout/directory/directory.js";
import { capabilityOf, mayFollow, mayPublish, maySeePresence, needsParticipation } from "./policy.js";

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

const table = Object.keys(CAPABILITIES).flatMap((role) =>
  RELATIONS.flatMap((relation) => [...CHANNEL_KINDS.keys()].map((kind) => ({ role, relation, kind }))),
);

describe("following a channel", () => {
  it.each(table)("of kind $kind as $role who is its $relation", ({ role, relation, kind }) => {
    for (const id of ["42", "u1"]) {
      const channel = channelOf("default", kind, id);
      const participation =
        relation === undefined ? undefined : { channel, userId: "u1", relation, expiresAtMs: 2 ** 50 };
      const isOwn = kind === "user" && id === "u1";
      const isTheirs = kind === "user" ? isOwn : relation !== undefined;
      const isAllowed = role === "admin" || kind === "public" || (isTheirs && role !== "anonymous");
      expect(mayFollow(principal(role), channel, participation)).toBe(isAllowed);
      expect(mayFollow(principal(role, "another-app"), channel, participation)).toBe(false);
      // What is decided without the directory must not depend on it.
      if (!needsParticipation(principal(role), channel)) {
        expect(mayFollow(principal(role), channel, undefined)).toBe(isAllowed);
      }
    }
  });
});

describe("publishing in a channel", () => {
  const PARTICIPANTS_PUBLISH: Readonly<Record<string, boolean>> = {
    order: true,
    ride: true,
    booking: true,
    conversation: true,
    group: true,
    user: false,
    notification: false,
    presence: false,
    public: false,
  };

  it("is decided for every kind there is", () => {
    expect(Object.keys(PARTICIPANTS_PUBLISH).sort()).toEqual([...CHANNEL_KINDS.keys()].sort());
  });

  it.each(table)("of kind $kind as $role who is its $relation", ({ role, relation, kind }) => {
    for (const id of ["42", "u1"]) {
      const channel = channelOf("default", kind, id);
      const participation =
        relation === undefined ? undefined : { channel, userId: "u1", relation, expiresAtMs: 2 ** 50 };
      const isParticipant = relation !== undefined && role !== "anonymous";
      const isAllowed = role === "admin" || (PARTICIPANTS_PUBLISH[kind] === true && isParticipant);
      expect(mayPublish(principal(role), channel, participation)).toBe(isAllowed);
      expect(mayPublish(principal(role, "another-app"), channel, participation)).toBe(false);
      if (!needsParticipation(principal(role), channel)) {
        expect(mayPublish(principal(role), channel, undefined)).toBe(isAllowed);
      }
    }
  });

  it("of a kind that does not exist is allowed to no participant", () => {
    const channel = channelOf("default", "planet", "1");
    const participation = { channel, userId: "u1", relation: "owner", expiresAtMs: 2 ** 50 } as const;
    expect(mayPublish(principal("customer"), channel, participation)).toBe(false);
  });
});

describe("seeing presence", () => {
  it.each(table)(
    "of kind $kind as $role who is its $relation is for who may follow it",
    ({ role, relation, kind }) => {
      const channel = channelOf("default", kind, "42");
      const participation =
        relation === undefined ? undefined : { channel, userId: "u1", relation, expiresAtMs: 2 ** 50 };
      expect(maySeePresence(principal(role), channel, participation)).toBe(
        role !== "anonymous" && mayFollow(principal(role), channel, participation),
      );
    },
  );

  it("is for nobody without an account, also in public channels", () => {
    const channel = channelOf("default", "public", "news");
    expect(maySeePresence(principal("anonymous"), channel, undefined)).toBe(false);
  });
});
