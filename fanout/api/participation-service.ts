/**
 * `ParticipationService`: who takes part in what, as backend services say it. It checks and passes on to
 * `Participations`, which also tells live followers; a user's own channel belongs to that user alone.
 */
import { toGatewayError, type GatewayError } from "#proto/errors.js";
import {
  ParticipationServiceService,
  Relation,
  type EndRequest,
  type EndResponse,
  type GrantRequest,
  type GrantResponse,
  type ListParticipantsRequest,
  type ListParticipantsResponse,
  type Participation as ParticipationMessage,
  type ParticipationResult,
} from "#proto/gen/realtime/api/v1/api.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { Directory, Participation, Relation as RelationName } from "#fanout/directory/directory.js";
import { isMerchantParty } from "#fanout/directory/merchant-party.js";
import type { Participations } from "#fanout/directory/participations.js";
import { PART_KINDS } from "#fanout/policy/policy.js";
import type { StoreClock } from "#fanout/store-clock.js";
import { apiMethod, type ApiCall, type ApiMethod } from "./api-method.js";
import { checkBatch, FieldCheck } from "./field-check.js";
import { runOrdered, type ItemOutcome } from "./ordered-batch.js";

const MAX_ITEMS = 1_000;
const CONCURRENT_CHANNELS = 32;
/** Longer than anything lasts: a time beyond it is a fault (seconds for milliseconds, or the reverse). */
const MAX_LIFETIME_MS = 10 * 366 * 86_400_000;

const RELATIONS: Readonly<Record<RelationName, Relation>> = {
  owner: Relation.RELATION_OWNER,
  assigned: Relation.RELATION_ASSIGNED,
  member: Relation.RELATION_MEMBER,
  merchant: Relation.RELATION_MERCHANT,
};

export class ParticipationService {
  readonly methods: readonly ApiMethod[] = [
    apiMethod(ParticipationServiceService.grant, (request, call) => this.#grant(request, call)),
    apiMethod(ParticipationServiceService.end, (request, call) => this.#end(request, call)),
    apiMethod(ParticipationServiceService.listParticipants, (request) => this.#list(request)),
  ];
  readonly #participations: Participations;
  readonly #directory: Directory;
  readonly #clock: StoreClock;

  constructor(options: { participations: Participations; directory: Directory; clock: StoreClock }) {
    this.#participations = options.participations;
    this.#directory = options.directory;
    this.#clock = options.clock;
  }

  async #grant(request: GrantRequest, call: ApiCall): Promise<GrantResponse> {
    const nowMs = Math.floor(this.#clock.nowUs() / 1_000);
    const outcomes = await this.#runAll(request.participations, call, {
      read: (message, check) => readGrant(message, check, nowMs),
      work: (participation) => this.#participations.grant(participation),
    });
    return { results: outcomes.map((outcome) => resultOf(outcome, call)) };
  }

  async #end(request: EndRequest, call: ApiCall): Promise<EndResponse> {
    const outcomes = await this.#runAll(request.participations, call, {
      read: readParticipant,
      work: ({ channel, userId }) => this.#participations.end(channel, userId),
    });
    return { results: outcomes.map((outcome) => resultOf(outcome, call)) };
  }

  async #list(request: ListParticipantsRequest): Promise<ListParticipantsResponse> {
    const check = new FieldCheck("");
    const { channel } = check.channel("channel", check.app("app", request.app), request.channel);
    const participations = await this.#directory.participants(channel);
    return {
      participations: participations.map(({ userId, relation, expiresAtMs }) => ({
        app: channel.app,
        channel: channel.name,
        userId,
        relation: RELATIONS[relation],
        expiresAtMs,
      })),
    };
  }

  async #runAll<Item extends { readonly channel: Channel }>(
    messages: readonly ParticipationMessage[],
    call: ApiCall,
    how: {
      read: (message: ParticipationMessage, check: FieldCheck) => Item;
      work: (item: Item) => Promise<void>;
    },
  ): Promise<ItemOutcome<void>[]> {
    checkBatch("participations", messages, MAX_ITEMS);
    const items = messages.map((message, index): Item | GatewayError => {
      try {
        return how.read(message, new FieldCheck(`participations[${index}]`));
      } catch (thrown) {
        return toGatewayError(thrown);
      }
    });
    return runOrdered({
      items,
      orderKey: ({ channel }) => channel.key,
      work: how.work,
      concurrency: CONCURRENT_CHANNELS,
      signal: call.signal,
    });
  }
}

function readParticipant(message: ParticipationMessage, check: FieldCheck) {
  const app = check.app("app", message.app);
  const { channel, kind } = check.channel("channel", app, message.channel);
  // Or a restaurant or shop, for all whose token says that they belong to it.
  if (!isMerchantParty(message.userId)) check.identifier("user_id", message.userId);
  return { channel, kind, userId: message.userId };
}

function readGrant(message: ParticipationMessage, check: FieldCheck, nowMs: number): Participation {
  const { channel, kind, userId } = readParticipant(message, check);
  if (channel.kind === "user") check.fail("channel", "a user's own channel has no other participants");
  if (!PART_KINDS.has(channel.kind)) check.fail("channel", `nobody takes part in a ${channel.kind} channel`);
  const relation =
    relationOf(message.relation) ?? check.fail("relation", "how the user takes part must be said");
  if (isMerchantParty(userId) && relation !== "merchant") check.fail("relation", "it is a merchant's");
  if (message.expiresAtMs === 0) {
    return { channel, userId, relation, expiresAtMs: nowMs + kind.participationTtlMs };
  }
  if (message.expiresAtMs <= nowMs) check.fail("expires_at_ms", "it is in the past");
  if (message.expiresAtMs > nowMs + MAX_LIFETIME_MS) {
    check.fail("expires_at_ms", "it is more than ten years ahead; it counts milliseconds since 1970");
  }
  return { channel, userId, relation, expiresAtMs: message.expiresAtMs };
}

function relationOf(relation: Relation): RelationName | undefined {
  switch (relation) {
    case Relation.RELATION_OWNER:
      return "owner";
    case Relation.RELATION_ASSIGNED:
      return "assigned";
    case Relation.RELATION_MEMBER:
      return "member";
    case Relation.RELATION_MERCHANT:
      return "merchant";
    default:
      return undefined;
  }
}

function resultOf(outcome: ItemOutcome<void>, call: ApiCall): ParticipationResult {
  if (outcome.ok) return {};
  const { error } = outcome;
  if (error.kind === "internal" || error.kind === "unavailable") call.report(error);
  return { error: error.toMessage() };
}
