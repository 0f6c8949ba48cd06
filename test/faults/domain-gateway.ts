/** What the fleet of chat and offers needs of a gateway: where apps connect, and what backends may ask of it. */
import { CallFailed, type Json } from "#test/contract/api-client.js";
import type { Cluster } from "#test/e2e/cluster.js";
import { ApiRing } from "./api-writer.js";
import type { OfferEnd, StoredMark } from "./domain-ledger.js";

export interface NewDomainOffer {
  readonly offerId: string;
  readonly candidates: readonly string[];
  readonly timeLimitMs: number;
}

export interface DomainGateway {
  /** The URLs of the edges as they are now. */
  edges(): readonly string[];
  token(userId: string): Promise<string>;
  grantMembers(channel: string, userIds: readonly string[]): Promise<void>;
  /** Each of these may be called again; they throw while the outcome is not known. */
  createOffer(offer: NewDomainOffer): Promise<void>;
  /** An offer that has ended needs no more. */
  withdrawOffer(offerId: string): Promise<void>;
  viewOffer(offerId: string): Promise<OfferEnd>;
  marksOf(userId: string): Promise<ReadonlyMap<string, StoredMark>>;
}

/** A backend waits no longer, and asks elsewhere. */
const CALL_TIMEOUT_MS = 1_500;
/** gRPC's ALREADY_EXISTS, FAILED_PRECONDITION and ABORTED: it has ended already. */
const ENDED_STATUSES = new Set([6, 9, 10]);

/** The gateway of processes: a call that fails is made elsewhere the next time. */
export class ClusterGateway implements DomainGateway {
  readonly #ring: ApiRing;
  #next = 0;

  constructor(private readonly cluster: Cluster) {
    this.#ring = new ApiRing(cluster);
  }

  edges(): readonly string[] {
    return this.cluster.edges.map((_, edge) => this.cluster.socketUrl(edge));
  }

  token(userId: string): Promise<string> {
    return this.cluster.token(userId, "porter");
  }

  async grantMembers(channel: string, userIds: readonly string[]): Promise<void> {
    const { app } = this.cluster;
    const participations = userIds.map((userId): Json => ({
      ...{ app, channel, user_id: userId },
      relation: "RELATION_MEMBER",
    }));
    await this.#call("ParticipationService", "Grant", { participations });
  }

  async createOffer({ offerId, candidates, timeLimitMs }: NewDomainOffer): Promise<void> {
    await this.#call("OfferService", "CreateOffer", {
      app: this.cluster.app,
      ...{ offer_id: offerId, subject_id: offerId, candidate_ids: candidates, time_limit_ms: timeLimitMs },
    });
  }

  async withdrawOffer(offerId: string): Promise<void> {
    try {
      await this.#call("OfferService", "WithdrawOffer", { app: this.cluster.app, offer_id: offerId });
    } catch (error) {
      if (!(error instanceof CallFailed) || !ENDED_STATUSES.has(error.code)) throw error;
    }
  }

  async viewOffer(offerId: string): Promise<OfferEnd> {
    const response = await this.#call("OfferService", "GetOffer", {
      app: this.cluster.app,
      offer_id: offerId,
    });
    const offer = response["offer"] as {
      readonly state: string;
      readonly winner_id: string;
      readonly expires_at_ms: number;
      readonly ended_at_ms: number;
    };
    return {
      state: offer.state.replace("OFFER_STATE_", "").toLowerCase(),
      winnerId: offer.winner_id,
      expiresAtMs: offer.expires_at_ms,
      endedAtMs: offer.ended_at_ms,
    };
  }

  async marksOf(userId: string): Promise<ReadonlyMap<string, StoredMark>> {
    const response = await this.#call("ChatService", "GetUnread", {
      app: this.cluster.app,
      user_id: userId,
    });
    const channels = response["channels"] as readonly {
      readonly channel: string;
      readonly delivered_number: number;
      readonly read_number: number;
    }[];
    return new Map(
      channels.map(({ channel, delivered_number, read_number }) => [
        channel,
        { deliveredNumber: delivered_number, readNumber: read_number },
      ]),
    );
  }

  async #call(service: string, name: string, request: Json): Promise<Readonly<Record<string, unknown>>> {
    const index = this.#next;
    try {
      const api = this.#ring.at(index % this.#ring.size);
      return (await api.call(service, name, request, { timeoutMs: CALL_TIMEOUT_MS })).response;
    } catch (error) {
      if (this.#next === index) this.#next += 1;
      throw error;
    }
  }
}
