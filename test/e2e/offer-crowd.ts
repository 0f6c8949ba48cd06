/**
 * Workers who want every offer, for e2e tests: each notes what it was told of an offer and how its own answer ended,
 * reading each frame once. What they were told is held against what was promised, and against what is on Kafka.
 */
import { expect } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { OfferState } from "#proto/gen/realtime/client/v1/event.js";
import type { AppClient } from "#test/support/app-client.js";
import type { Cluster } from "./cluster.js";
import type { ReadRecord } from "./event-topics.js";

const STATE_WORDS: Readonly<Record<OfferState, string>> = {
  [OfferState.OFFER_STATE_UNSPECIFIED]: "?",
  [OfferState.OFFER_STATE_OPEN]: "open",
  [OfferState.OFFER_STATE_ACCEPTED]: "accepted",
  [OfferState.OFFER_STATE_TAKEN]: "taken",
  [OfferState.OFFER_STATE_WITHDRAWN]: "withdrawn",
  [OfferState.OFFER_STATE_EXPIRED]: "expired",
  [OfferState.OFFER_STATE_REJECTED]: "rejected",
};

export interface OfferRecord {
  readonly eventId: string;
  readonly type: string;
  readonly offerId: string;
  readonly workerId: string;
  readonly fencingNumber: number;
}

export class CrowdWorker {
  /** By offer: what it was told, in order; of each event once. */
  readonly #told = new Map<string, string[]>();
  readonly #eventIds = new Set<string>();
  /** By offer: "accepted", or the code of the error. */
  readonly #answers = new Map<string, string>();
  readonly #asked = new Map<number, string>();
  readonly repeats: string[] = [];
  #read = 0;

  constructor(
    readonly client: AppClient,
    readonly userId: string,
  ) {}

  told(offerId: string): readonly string[] {
    this.#catchUp();
    return this.#told.get(offerId) ?? [];
  }

  answer(offerId: string): string | undefined {
    this.#catchUp();
    return this.#answers.get(offerId);
  }

  accept(offerId: string): void {
    this.#asked.set(this.client.send({ $case: "offerAccept", value: { offerId } }), offerId);
  }

  async untilTold(offerId: string, states: readonly string[], timeoutMs = 30_000): Promise<void> {
    const isTold = () => (this.told(offerId).join() === states.join() ? true : undefined);
    const what = `offer ${offerId} told to ${this.userId} as ${states.join()}`;
    await this.client.until(isTold, { what, timeoutMs }).catch((error: unknown) => {
      throw new Error(`${this.userId} was told ${this.told(offerId).join()} of ${offerId}`, { cause: error });
    });
  }

  async untilAnswered(offerId: string, timeoutMs = 30_000): Promise<string> {
    const what = `an answer to ${this.userId} about ${offerId}`;
    return this.client.until(() => this.answer(offerId), { what, timeoutMs });
  }

  #catchUp(): void {
    for (; this.#read < this.client.frames.length; this.#read += 1) {
      const { replyTo, body } = this.client.frames[this.#read] ?? { replyTo: 0 };
      const asked = this.#asked.get(replyTo);
      if (asked !== undefined && body?.$case === "reply") this.#note(asked, "accepted");
      if (asked !== undefined && body?.$case === "error")
        this.#note(
          asked,
          body.value.code === ErrorCode.ERROR_CODE_CONFLICT ? "conflict" : body.value.message,
        );
      if (body?.$case !== "event" || body.value.body?.$case !== "offer") continue;
      const { offerId, state } = body.value.body.value;
      if (this.#eventIds.has(body.value.id)) {
        this.repeats.push(body.value.id);
        continue;
      }
      this.#eventIds.add(body.value.id);
      this.#told.set(offerId, [...(this.#told.get(offerId) ?? []), STATE_WORDS[state]]);
    }
  }

  /** A second answer to the same frame would be one too many. */
  #note(offerId: string, answer: string): void {
    expect(this.#answers.get(offerId)).toBeUndefined();
    this.#answers.set(offerId, answer);
  }
}

export async function crowdOf(cluster: Cluster, workers: number): Promise<CrowdWorker[]> {
  return Promise.all(
    Array.from({ length: workers }, async (_, index) => {
      const userId = `w${index}`;
      const edge = index % cluster.edges.length;
      return new CrowdWorker(await cluster.connect(edge, userId, "porter", { framing: "protobuf" }), userId);
    }),
  );
}

/** What is on the topic of this cluster's offers. */
export function offerRecords(records: readonly ReadRecord[], app: string): OfferRecord[] {
  return records.flatMap(({ value }) => {
    const {
      eventId,
      type,
      app: whose,
      data,
    } = JSON.parse(value) as {
      eventId: string;
      type: string;
      app?: string;
      data: { offerId: string; workerId?: string; fencingNumber?: number };
    };
    if (whose !== app) return [];
    const { offerId, workerId = "", fencingNumber = 0 } = data;
    return [{ eventId, type, offerId, workerId, fencingNumber }];
  });
}

/** Each event once, where it first stands: repeats have the same id. */
export function firstOccurrences(records: readonly OfferRecord[]): OfferRecord[] {
  const byId = new Map<string, OfferRecord>();
  for (const record of records) if (!byId.has(record.eventId)) byId.set(record.eventId, record);
  return [...byId.values()];
}
