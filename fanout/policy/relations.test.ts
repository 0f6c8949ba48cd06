import { beforeEach, describe, expect, it, vi } from "vitest";
import { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { PartUnknownError } from "#fanout/directory/directory.js";
import { order } from "#test/support/fanout-core.js";
import { GrantedRelations } from "./relations.js";

const channel = order("42");
let directory: MemoryDirectory;
let relations: GrantedRelations;

beforeEach(() => {
  directory = new MemoryDirectory();
  relations = new GrantedRelations({ directory, merchantClaim: "restaurant" });
});

const as = (role: string, claims: unknown = { restaurant: "r1" }): Principal =>
  Principal.fromPartial({ app: "default", userId: "u1", role, claimsJson: JSON.stringify(claims) });
const grant = (userId: string, id = "42") =>
  directory.grant({ channel: order(id), userId, relation: "merchant", expiresAtMs: 2 ** 50 });

describe("the names of a principal", () => {
  it.each<[string, unknown, string[]]>([
    ["merchant", { restaurant: "r1" }, ["u1", "merchant:r1"]],
    ["restaurant", { restaurant: 7 }, ["u1", "merchant:7"]],
    ["customer", { restaurant: "r1" }, ["u1"]],
    ["admin", { restaurant: "r1" }, ["u1"]],
    ["merchant", { other: "r1" }, ["u1"]],
    ["merchant", { restaurant: "r1:x" }, ["u1"]],
    ["merchant", { restaurant: ["r1"] }, ["u1"]],
    ["merchant", null, ["u1"]],
    ["merchant", "r1", ["u1"]],
  ])("as %s with the claims %j are %j", (role, claims, names) => {
    expect(relations.namesOf(as(role, claims))).toEqual(names);
  });

  it("are the user's alone where no claim is configured, or what is said is no JSON", () => {
    expect(new GrantedRelations({ directory }).namesOf(as("merchant"))).toEqual(["u1"]);
    expect(relations.namesOf({ ...as("merchant"), claimsJson: "{" })).toEqual(["u1"]);
  });
});

describe("parts", () => {
  it("are those of all names, of one channel or of all, the last granted first", async () => {
    expect(await relations.partOf(as("merchant"), channel)).toBeUndefined();
    await grant("merchant:r1");
    await grant("merchant:r1", "43");
    await grant("u2");
    expect(await relations.partOf(as("merchant"), channel)).toMatchObject({ userId: "merchant:r1" });
    expect(await relations.partOf(as("customer"), channel)).toBeUndefined();
    const { parts, isComplete } = await relations.ownParts(as("merchant"));
    expect([parts.map((part) => part.channel.id), isComplete]).toEqual([["43", "42"], true]);
    const known = await relations.partsOf([as("merchant"), as("customer")], channel);
    expect(known.partOf(as("merchant"))).toMatchObject({ userId: "merchant:r1" });
    expect(known.partOf(as("customer"))).toBe("none");
  });

  it("are unknown while the directory is being rebuilt, but where one is found or all have ended", async () => {
    const record = { parts: [], ended: new Set(["u1"]), isComplete: false, version: 1 };
    vi.spyOn(directory, "recordOf").mockResolvedValue(record);
    const known = await relations.partsOf([], channel);
    expect(known.partOf(as("customer"))).toBe("none");
    expect(known.partOf(as("merchant"))).toBe("unknown");
    await grant("merchant:r1");
    const { participation } = directory;
    vi.spyOn(directory, "participation").mockImplementation(async (asked, name) => {
      if (name === "u1") throw new PartUnknownError();
      return participation.call(directory, asked, name);
    });
    expect(await relations.partOf(as("merchant"), channel)).toMatchObject({ userId: "merchant:r1" });
    await expect(relations.partOf(as("customer"), channel)).rejects.toThrow(PartUnknownError);
  });
});
