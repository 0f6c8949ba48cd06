/**
 * Offers in Redis. Each command is one script in the offer's partition (`lua/change-offer.lua`), which also writes what
 * has to be delivered and what has to reach Kafka. Fencing numbers lie in the subject's partition: they are drawn
 * before the script that uses them, so of two accepts that follow each other the later has the greater one.
 */
import { DEFAULT_OUTBOX_BOUND, outboxFull } from "#fanout/channel/channel-limits.js";
import {
  askedOffersKey,
  fencingNumberKey,
  offerKeys,
  offerPartitionKeys,
  type PlacedKey,
} from "#fanout/redis/keys.js";
import type { RedisArgument } from "#fanout/redis/redis-clients.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { bytesOf, integerOf, listOf, optionalBytesOf, pairsOf } from "#fanout/redis/reply.js";
import { loadScript, type RedisScript } from "#fanout/redis/scripts.js";
import { readChange } from "./change-record.js";
import { OFFER_TOPIC } from "./offer-events.js";
import type { OfferCommand, OfferOutcome } from "./offer-machine.js";
import type { OfferChange, OfferMode, OfferName, OfferStateName, OfferView } from "./offer.js";
import {
  DEFAULT_OFFER_RETENTION_MS,
  FENCING_MEMORY_MS,
  MAX_ASKED,
  MAX_OPEN_OFFERS,
  dueShare,
  tooManyOffers,
  type DueOffers,
  type OfferAnswer,
  type Offers,
  type UndeliveredChanges,
} from "./offers.js";

const CHANGE = loadScript(import.meta.url, "./lua/change-offer.lua");
const READ_CHANGES = loadScript(import.meta.url, "./lua/read-changes.lua");
const DELIVERED = loadScript(import.meta.url, "./lua/changes-delivered.lua");
const DUE = loadScript(import.meta.url, "./lua/due-offers.lua");
const NEXT_NUMBER = loadScript(import.meta.url, "./lua/next-fencing-number.lua");
const NOTE_ASKED = loadScript(import.meta.url, "./lua/note-asked.lua");
const READ_ASKED = loadScript(import.meta.url, "./lua/read-asked.lua");

const OUTCOMES: ReadonlySet<string> = new Set<OfferOutcome>([
  "done",
  "repeated",
  "draw",
  "unknown",
  "other",
  "over",
  "rejected",
  "passed",
]);
const STATES: ReadonlySet<string> = new Set<OfferStateName>(["open", "accepted", "withdrawn", "expired"]);
const MODES: ReadonlySet<string> = new Set<OfferMode>(["all_at_once", "one_by_one"]);

export interface RedisOffersOptions {
  readonly connection: RedisConnection;
  /** How long an offer is remembered after its end and its deadline. */
  readonly retentionMs?: number;
  /** Entries in a partition's outbox above which nothing changes any more. */
  readonly outboxBound?: number;
  /** In each partition. */
  readonly maxOpen?: number;
}

export class RedisOffers implements Offers {
  readonly retentionMs: number;
  readonly #connection: RedisConnection;
  readonly #outboxBound: number;
  readonly #maxOpen: number;

  constructor(options: RedisOffersOptions) {
    this.#connection = options.connection;
    this.retentionMs = options.retentionMs ?? DEFAULT_OFFER_RETENTION_MS;
    this.#outboxBound = options.outboxBound ?? DEFAULT_OUTBOX_BOUND;
    this.#maxOpen = options.maxOpen ?? MAX_OPEN_OFFERS;
  }

  async apply(name: OfferName, command: OfferCommand): Promise<OfferAnswer> {
    const keys = offerKeys(name);
    const reply = listOf(
      await this.#connection.script(CHANGE, {
        partition: keys.partition,
        keys: [keys.offer, keys.changes, keys.undelivered, keys.deadlines, keys.outbox, keys.outboxNews],
        args: [
          command.type,
          keys.member,
          name.offerId,
          OFFER_TOPIC,
          this.#outboxBound,
          this.#maxOpen,
          ...argumentsOf(command),
        ],
      }),
    );
    const outcome = bytesOf(reply[0]).toString();
    if (outcome === "outbox_full") throw outboxFull();
    if (outcome === "too_many") throw tooManyOffers();
    if (!isOutcome(outcome)) throw new Error("an unknown outcome of change-offer.lua");
    const waited = bytesOf(reply[6]).toString();
    return {
      outcome,
      state: stateOf(bytesOf(reply[1]).toString()),
      endedAtMs: integerOf(reply[2]),
      fencingNumber: integerOf(reply[3]),
      subjectId: bytesOf(reply[4]).toString(),
      changes: integerOf(reply[5]),
      undeliveredForMs: waited === "" ? undefined : Number(waited),
    };
  }

  async view(name: OfferName): Promise<OfferView | undefined> {
    const { offer } = offerKeys(name);
    const stored = await this.#connection.run((client) => client.hgetallBuffer(offer), "read-offer");
    const text = (field: string): string => stored[field]?.toString() ?? "";
    const number = (field: string): number => Number(text(field));
    const state = stateOf(text("state"));
    const mode = text("mode");
    if (state === undefined || !isMode(mode)) return undefined;
    const turnEndsAtMs = number("turn_ends");
    return {
      ...name,
      mode,
      state,
      subjectId: text("subject"),
      candidates: text("candidates").split(" "),
      marks: text("marks"),
      winnerId: text("winner"),
      fencingNumber: number("fence"),
      reason: text("reason"),
      createdAtMs: number("created"),
      expiresAtMs: number("deadline"),
      endedAtMs: number("ended"),
      answerUntilMs: turnEndsAtMs > 0 ? turnEndsAtMs : number("deadline"),
      askedAtMs: number("asked_at"),
      askedRevision: number("asked_revision"),
      template: stored["template"] ?? Buffer.alloc(0),
      seed: text("seed"),
    };
  }

  async undelivered(name: OfferName): Promise<UndeliveredChanges | undefined> {
    const { partition, offer, changes } = offerKeys(name);
    const reply = listOf(
      await this.#connection.script(READ_CHANGES, { partition, keys: [offer, changes], args: [] }),
    );
    const template = optionalBytesOf(reply[0]);
    if (template === undefined) return undefined;
    const read: OfferChange[] = [];
    for (const [revision, facts] of pairsOf(reply[3])) {
      // One of a later release is told by that.
      const change = readChange(facts.toString());
      if (change?.revision === Number(revision.toString())) read.push(change);
    }
    return {
      template,
      candidates: bytesOf(reply[1]).toString().split(" "),
      seed: bytesOf(reply[2]).toString(),
      changes: read.sort((left, right) => left.revision - right.revision),
    };
  }

  async delivered(name: OfferName, revisions: readonly number[]): Promise<void> {
    if (revisions.length === 0) return;
    const { partition, offer, changes, undelivered, member } = offerKeys(name);
    const args = [member, this.retentionMs, ...revisions];
    await this.#connection.script(DELIVERED, { partition, keys: [offer, changes, undelivered], args });
  }

  async due(partitions: readonly number[], undeliveredForMs: number): Promise<DueOffers> {
    const places = partitions.map(offerPartitionKeys);
    const args = [undeliveredForMs, dueShare(partitions.length)];
    const keysOf = ({ deadlines, undelivered }: (typeof places)[number]): string[] => [
      deadlines,
      undelivered,
    ];
    // One Redis is asked about all partitions at once; in Cluster a node that is away hides only its own.
    const replies = this.#connection.isCluster
      ? await Promise.all(
          places.map((place) =>
            this.#connection
              .script(DUE, { partition: place.partition, keys: keysOf(place), args })
              .catch(() => undefined),
          ),
        )
      : [await this.#connection.script(DUE, { partition: undefined, keys: places.flatMap(keysOf), args })];
    const found = replies.flatMap((reply) => (reply === undefined ? [] : [listOf(reply)]));
    const names = (index: number): OfferName[] =>
      found.flatMap((each) => listOf(each[index]).map((member) => nameOf(bytesOf(member).toString())));
    const open = found.reduce((sum, each) => sum + integerOf(each[2]), 0);
    return { overdue: names(0), undelivered: names(1), open };
  }

  async nextFencingNumber(app: string, subjectId: string): Promise<number> {
    return integerOf(await this.#onKey(NEXT_NUMBER, fencingNumberKey(app, subjectId), [FENCING_MEMORY_MS]));
  }

  async noteAsked(app: string, userId: string, asked: { offerId: string; untilMs: number }): Promise<void> {
    await this.#onKey(NOTE_ASKED, askedOffersKey(app, userId), [asked.offerId, asked.untilMs, MAX_ASKED]);
  }

  async askedOf(app: string, userId: string): Promise<readonly string[]> {
    const reply = listOf(await this.#onKey(READ_ASKED, askedOffersKey(app, userId), []));
    return reply.map((offerId) => bytesOf(offerId).toString());
  }

  #onKey(
    script: RedisScript,
    { partition, key }: PlacedKey,
    args: readonly RedisArgument[],
  ): Promise<unknown> {
    return this.#connection.script(script, { partition, keys: [key], args });
  }
}

function argumentsOf(command: OfferCommand): readonly RedisArgument[] {
  switch (command.type) {
    case "create": {
      const { offer } = command;
      return [
        offer.digest,
        offer.mode,
        offer.candidates.join(" "),
        offer.subjectId,
        offer.expiresAtMs ?? "",
        offer.timeLimitMs,
        offer.candidateTimeLimitMs,
        offer.seed,
        Buffer.from(offer.template),
      ];
    }
    case "accept":
      return [command.userId, command.role, command.fencingNumber ?? ""];
    case "reject":
      return [command.userId, command.role, command.reason];
    case "withdraw":
      return [command.reason];
    case "pass":
      return [command.userId];
    case "look":
      return [];
  }
}

/** `app/offer`: no identifier has a slash. */
function nameOf(member: string): OfferName {
  const slash = member.indexOf("/");
  return { app: member.slice(0, slash), offerId: member.slice(slash + 1) };
}

function stateOf(text: string): OfferStateName | undefined {
  return STATES.has(text) ? (text as OfferStateName) : undefined;
}

function isOutcome(text: string): text is OfferOutcome {
  return OUTCOMES.has(text);
}

function isMode(text: string): text is OfferMode {
  return MODES.has(text);
}
