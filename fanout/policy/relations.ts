/**
 * Where somebody's part in a channel comes from. The directory knows who was granted one, by name; and a merchant's
 * token says in a claim to which restaurant or shop they belong, whose parts are theirs too. An authorize hook at a
 * backend has its place here: another `Relations`, which asks these first and the hook where they know nothing.
 *
 * Every method fails with GatewayError `unavailable` while what it asks is away.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import { isIdentifier, type Channel } from "#fanout/channel/channel.js";
import { type Directory, type DirectoryRecord, type Participation } from "#fanout/directory/directory.js";
import { merchantParty } from "#fanout/directory/merchant-party.js";
import { capabilityOf } from "./policy.js";

export interface KnownParts {
  /** Of the channel's participants, for `FollowedChannel.membersChecked`. */
  readonly version: number;
  /** The part; "none"; or "unknown", where nobody can say yet whether there is one. */
  partOf(principal: Principal): Participation | "none" | "unknown";
}

export interface Relations {
  /** @throws PartUnknownError where nobody can say yet whether there is one. */
  partOf(principal: Principal, channel: Channel): Promise<Participation | undefined>;
  /** What is known of all of these at once. */
  partsOf(principals: readonly Principal[], channel: Channel): Promise<KnownParts>;
  /** Everything that they take part in, of what was granted last first. */
  ownParts(principal: Principal): Promise<Pick<DirectoryRecord, "parts" | "isComplete">>;
  /** The names under which they may have been granted a part; changes are signalled in `user:<name>`. */
  namesOf(principal: Principal): readonly string[];
}

interface RecordsOfChannels extends Pick<Directory, "participation" | "recordOfUser"> {
  /** What is known of a channel, of these users at least. */
  recordOf(channel: Channel, among: readonly string[]): Promise<DirectoryRecord>;
}

export class GrantedRelations implements Relations {
  readonly #directory: RecordsOfChannels;
  readonly #merchantClaim: string | undefined;

  /** `merchantClaim`: the claim that names a merchant's restaurant or shop. */
  constructor(options: {
    readonly directory: RecordsOfChannels;
    readonly merchantClaim?: string | undefined;
  }) {
    this.#directory = options.directory;
    this.#merchantClaim = options.merchantClaim;
  }

  async partOf(principal: Principal, channel: Channel): Promise<Participation | undefined> {
    const found = await Promise.allSettled(
      this.namesOf(principal).map((name) => this.#directory.participation(channel, name)),
    );
    for (const part of found) if (part.status === "fulfilled" && part.value) return part.value;
    for (const part of found) if (part.status === "rejected") throw part.reason;
    return undefined;
  }

  async partsOf(principals: readonly Principal[], channel: Channel): Promise<KnownParts> {
    const names = principals.flatMap((principal) => this.namesOf(principal));
    const { parts, ended, isComplete, version } = await this.#directory.recordOf(channel, names);
    const byName = new Map(parts.map((part) => [part.userId, part]));
    return {
      version,
      partOf: (principal) => {
        const all = this.namesOf(principal);
        const part = all.map((name) => byName.get(name)).find((found) => found !== undefined);
        return part ?? (isComplete || all.every((name) => ended.has(name)) ? "none" : "unknown");
      },
    };
  }

  async ownParts(principal: Principal): Promise<Pick<DirectoryRecord, "parts" | "isComplete">> {
    const records = await Promise.all(
      this.namesOf(principal).map((name) => this.#directory.recordOfUser(principal.app, name)),
    );
    const isComplete = records.every((record) => record.isComplete);
    return { parts: records.flatMap(({ parts }) => parts.toReversed()), isComplete };
  }

  namesOf(principal: Principal): readonly string[] {
    const merchantId = this.#merchantOf(principal);
    return merchantId === undefined ? [principal.userId] : [principal.userId, merchantParty(merchantId)];
  }

  #merchantOf({ role, claimsJson }: Principal): string | undefined {
    if (this.#merchantClaim === undefined || claimsJson === "" || capabilityOf(role) !== "merchant")
      return undefined;
    const claim = readClaim(claimsJson, this.#merchantClaim);
    // Services that number their restaurants put numbers into tokens.
    const id = Number.isSafeInteger(claim) ? String(claim) : claim;
    return typeof id === "string" && isIdentifier(id) ? id : undefined;
  }
}

/** The edge has made it of what it read in a signed token. */
function readClaim(claimsJson: string, name: string): unknown {
  try {
    const claims: unknown = JSON.parse(claimsJson);
    return typeof claims === "object" && claims !== null && Object.hasOwn(claims, name)
      ? (claims as Readonly<Record<string, unknown>>)[name]
      : undefined;
  } catch {
    return undefined;
  }
}
