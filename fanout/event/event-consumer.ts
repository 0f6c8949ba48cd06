/**
 * Does what events of other services mean: the handler of the event source. An event is done when this
 * resolves; where it fails in a way that can pass, the whole event is tried again, so every step may be
 * repeated. What can never be done becomes an UnreadableRecord.
 */
import { GatewayError, type ErrorName } from "#proto/errors.js";
import type { MessageToSend } from "#fanout/chat/chat.js";
import type { ServiceChat } from "#fanout/chat/service-chat.js";
import { checkEventSize } from "#fanout/channel/event-identity.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { Directory } from "#fanout/directory/directory.js";
import type { Participations } from "#fanout/directory/participations.js";
import type { OfferRequest } from "#fanout/offer/offer-request.js";
import type { OfferDesk } from "#fanout/offer/offer-desk.js";
import type { Logger } from "#fanout/fanout-logger.js";
import { isOwnRecord, MAX_ENVELOPE_BYTES, readEnvelope, type CheckedEnvelope } from "./envelope.js";
import { UnreadableRecord, type RecordWork, type SourceRecord } from "./event-source.js";
import { meaningOf, type Action, type Meaning } from "./incoming-events.js";
import { RecentEvents } from "./recent-events.js";

export interface EventConsumerOptions {
  readonly publisher: Pick<Publisher, "publish">;
  readonly participations: Pick<Participations, "grant" | "end" | "endAll">;
  readonly directory: Pick<Directory, "participants">;
  readonly offers: Pick<OfferDesk, "create" | "withdraw">;
  readonly chat: Pick<ServiceChat, "say">;
  readonly logger: Logger;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly now: () => number;
}

/** An event and what it means. */
interface ReadEvent {
  readonly envelope: CheckedEnvelope;
  readonly meaning: Meaning;
}

type PublishAction = Extract<Action, { type: "publish" }>;

/** Errors that say the event itself is at fault: trying again cannot help. */
const FAULTS_OF_THE_EVENT: ReadonlySet<string> = new Set([
  "invalid_argument",
  "not_found",
  "payload_too_large",
  "unsupported",
]);

const RECENT_EVENTS = 10_000;
/** No event is sixteen times as large as its record. */
const MAY_GROW_BYTES = MAX_ENVELOPE_BYTES / 16;

const OFFER_OUTCOMES = { created: "published", repeated: "repeated", over: "stale" } as const;

function isOf(error: unknown, kind: ErrorName): boolean {
  return error instanceof GatewayError && error.kind === kind;
}

export class EventConsumer {
  readonly #options: EventConsumerOptions;
  readonly #recent = new RecentEvents(RECENT_EVENTS);
  /** Plain integers for the metrics. `consumed` counts records that are done; the others say how they ended. */
  readonly counters = {
    consumed: 0,
    published: 0,
    repeated: 0,
    stale: 0,
    unknownType: 0,
    unreadable: 0,
    own: 0,
  };

  constructor(options: EventConsumerOptions) {
    this.#options = options;
  }

  /** Its `run` throws UnreadableRecord, or anything else where trying again makes sense. */
  readonly handle = (record: SourceRecord): RecordWork => {
    if (isOwnRecord(record)) return { touches: [], run: () => this.#leaveOwn() };
    const read = this.#read(record);
    // What its service wrote with one key keeps its order, whatever it is about.
    const touches = record.key === undefined ? [] : [`key ${record.key}`];
    if (read instanceof UnreadableRecord) return { touches, run: () => this.#refuse(read) };
    return { touches: [...touches, ...touchedBy(read)], run: () => this.#run(read, record) };
  };

  #leaveOwn(): Promise<void> {
    this.counters.own += 1;
    return Promise.resolve();
  }

  #refuse(failure: UnreadableRecord): Promise<never> {
    this.counters.unreadable += 1;
    return Promise.reject(failure);
  }

  async #run(read: ReadEvent, record: SourceRecord): Promise<void> {
    try {
      await this.#handle(read, record);
      this.counters.consumed += 1;
    } catch (error) {
      const isFault = error instanceof GatewayError && FAULTS_OF_THE_EVENT.has(error.kind);
      const failure = isFault ? new UnreadableRecord(error.message, { cause: error }) : error;
      if (failure instanceof UnreadableRecord) this.counters.unreadable += 1;
      throw failure;
    }
  }

  async #handle({ envelope, meaning }: ReadEvent, record: SourceRecord): Promise<void> {
    const eventKey = keyOf(envelope);
    if (meaning.outcome === "ignored") return;
    if (meaning.outcome === "unknown") {
      this.counters.unknownType += 1;
      const { type, eventId, correlationId } = envelope;
      this.#options.logger.debug({ type, eventId, correlationId }, "an event of an unknown type was ignored");
      return;
    }
    if (this.#recent.has(eventKey)) {
      this.counters.repeated += 1;
      return;
    }
    if (record.value.byteLength > MAY_GROW_BYTES) checkSizes(meaning.actions);
    await this.#perform(meaning.actions, record);
    this.#recent.add(eventKey);
  }

  /** Reading touches nothing outside: a failure of it would come again with every try. */
  #read(record: SourceRecord): ReadEvent | UnreadableRecord {
    try {
      const envelope = readEnvelope(record);
      return { envelope, meaning: meaningOf(envelope, this.#options.now()) };
    } catch (error) {
      if (error instanceof UnreadableRecord) return error;
      const { topic, partition, offset } = record;
      this.#options.logger.error({ topic, partition, offset, err: error }, "reading an event crashed");
      return new UnreadableRecord("reading it crashed; see the gateway's log", { cause: error });
    }
  }

  /**
   * In the given order: parts before events, so that nobody is refused who is told. A versioned event goes
   * first instead: if it is older than what is known, it must not bring back a part that is over.
   */
  async #perform(actions: readonly Action[], record: SourceRecord): Promise<void> {
    const publishes = actions.filter((action) => action.type === "publish");
    const isVersioned = publishes.some(({ version }) => version !== undefined);
    const others = actions.filter((action) => action.type !== "publish");
    const ordered = isVersioned ? [...publishes, ...others] : actions;
    let isStale = false;
    for (const action of ordered) {
      // Whose an order is does not change: what is old news about its status still says that.
      const isOwner = action.type === "grant" && action.participation.relation === "owner";
      if (isStale && action.type !== "publish" && !isOwner) continue;
      switch (action.type) {
        case "publish": {
          const outcome = await this.#publish(action, { record, index: publishes.indexOf(action) });
          isStale ||= outcome === "stale";
          break;
        }
        case "grant":
          await this.#options.participations.grant(action.participation);
          break;
        case "end":
          await this.#options.participations.end(action.channel, action.userId);
          break;
        case "offer":
          await this.#makeOffer(action.request);
          break;
        case "say":
          await this.#say(action.message, record);
          break;
        case "withdrawOffer":
          await this.#withdrawOffer(action);
          break;
        case "endAll":
          await this.#endAll(action);
          break;
      }
    }
  }

  async #publish(
    { channel, event, version }: PublishAction,
    from: { record: SourceRecord; index: number },
  ): Promise<"published" | "repeated" | "stale"> {
    const { topic, partition, offset } = from.record;
    const { outcome } = await this.#options.publisher.publish({
      channel,
      event,
      idempotencyKey: event.id,
      ...(version !== undefined && { version }),
      sourceMark: { source: `${topic}-${partition}`, offset, index: from.index },
    });
    this.counters[outcome] += 1;
    return outcome;
  }

  async #say(message: MessageToSend, { topic, partition, offset }: SourceRecord): Promise<void> {
    const sourceMark = { source: `${topic}-${partition}`, offset, index: 0 };
    const { outcome } = await this.#options.chat.say({ ...message, sourceMark });
    this.counters[outcome] += 1;
  }

  async #makeOffer(request: OfferRequest): Promise<void> {
    const outcome = await this.#options.offers.create(request).catch((error: unknown) => {
      // It will be another offer's with every try.
      throw isOf(error, "conflict") ? new UnreadableRecord("data.offerId is another offer's") : error;
    });
    this.counters[OFFER_OUTCOMES[outcome]] += 1;
  }

  /** What is not open any more needs no more. */
  async #withdrawOffer({ app, offerId, reason }: Extract<Action, { type: "withdrawOffer" }>): Promise<void> {
    await this.#options.offers.withdraw({ app, offerId }, reason).catch((error: unknown) => {
      if (!isOf(error, "conflict") && !isOf(error, "not_found")) throw error;
    });
  }

  async #endAll({ channel, relation }: Extract<Action, { type: "endAll" }>): Promise<void> {
    const { participations, directory } = this.#options;
    if (relation === undefined) {
      await participations.endAll(channel);
      return;
    }
    for (const participant of await directory.participants(channel)) {
      if (participant.relation === relation) await participations.end(channel, participant.userId);
    }
  }
}

function keyOf({ app, eventId }: CheckedEnvelope): string {
  return `${app}/${eventId}`;
}

/** Of what it says about what; and its own id, which may come twice. */
function touchedBy({ envelope, meaning }: ReadEvent): readonly string[] {
  if (meaning.outcome !== "actions") return [];
  return [`event ${keyOf(envelope)}`, ...meaning.actions.map(subjectOf)];
}

function subjectOf(action: Action): string {
  switch (action.type) {
    case "grant":
      return action.participation.channel.key;
    case "say":
      return action.message.channel.key;
    case "offer":
      return `offer ${action.request.app}/${action.request.offerId}`;
    case "withdrawOffer":
      return `offer ${action.app}/${action.offerId}`;
    case "publish":
    case "end":
    case "endAll":
      return action.channel.key;
  }
}

/** Before anything is done: what is too large for a socket would close each that it comes to, at every resume. */
function checkSizes(actions: readonly Action[]): void {
  for (const action of actions)
    if (action.type === "publish") checkEventSize(action.event, "data", MAX_ENVELOPE_BYTES);
}
