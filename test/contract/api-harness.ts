/**
 * An API server on memory stores, which can be made to fail or to hang, and clients for it. The session
 * registry holds what a test puts into it: edges and their leases are not the API's.
 */
import { credentials, type ChannelCredentials } from "@grpc/grpc-js";
import { GatewayError } from "#proto/errors.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { Signal } from "#proto/gen/realtime/store/v1/store.js";
import type { SessionRecord } from "#proto/gen/realtime/store/v1/store.js";
import { ApiServer, type ApiServerOptions } from "#fanout/api/api-server.js";
import type { Broker, DurableEvent, PublishAnswer } from "#fanout/channel/broker.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { parseChannelName, type Channel } from "#fanout/channel/channel.js";
import { Publisher } from "#fanout/channel/publisher.js";
import { ChatPart } from "#fanout/chat/chat-part.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { Participation } from "#fanout/directory/directory.js";
import { Participations } from "#fanout/directory/participations.js";
import { FanoutCounters } from "#fanout/fanout-counters.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { OfferPart } from "#fanout/offer/offer-part.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import { GrantedRelations } from "#fanout/policy/relations.js";
import { OwnParticipations } from "#fanout/session/own-participations.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { Revocations } from "#fanout/revocation/revocations.js";
import { MemoryRevocationStore } from "#fanout/revocation/revocation-store-memory.js";
import type { SessionRegistry } from "#fanout/session/session-registry.js";
import { ApiClient } from "./api-client.js";

export const TOKEN = "token-of-the-order-service";
export const NOW_MS = 1_750_000_000_000;

export const channel = (name: string): Channel => parseChannelName("default", name, "channel");
export const unavailable = () => new GatewayError("unavailable", "the store is away", { retryAfterMs: 500 });

/** Runs before each publish; what it throws is the publish's failure. */
type Fault = (channel: Channel, event: DurableEvent) => Promise<void>;

class FaultyBroker extends MemoryBroker {
  fault: Fault | undefined;
  readonly told: { channel: string; signal: Signal }[] = [];
  /** Payloads in the order in which they were handed over, with the most that were in hand at once. */
  readonly begun: string[] = [];
  mostAtOnce = 0;
  #inHand = 0;

  override async publish(target: Channel, event: DurableEvent): Promise<PublishAnswer> {
    this.begun.push(event.eventId);
    this.#inHand += 1;
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#inHand);
    try {
      await this.fault?.(target, event);
      return await super.publish(target, event);
    } finally {
      this.#inHand -= 1;
    }
  }

  override async tell(target: Channel, message: Parameters<Broker["tell"]>[1]): Promise<void> {
    if ("signal" in message) {
      this.told.push({ channel: target.key, signal: Signal.decode(message.signal) });
    }
    await super.tell(target, message);
  }

  async eventsIn(name: string): Promise<Event[]> {
    const events = await this.history(channel(name), { afterOffset: 0, limit: 2_000 });
    return events.map(({ payload }) => Event.decode(payload));
  }
}

class FaultyDirectory extends MemoryDirectory {
  fault: (() => void) | undefined;

  override async grant(participation: Participation): Promise<void> {
    this.fault?.();
    await super.grant(participation);
  }
}

class FakeRegistry implements SessionRegistry {
  fault: (() => void) | undefined;
  readonly records: SessionRecord[] = [];

  async put(record: SessionRecord): Promise<void> {
    this.records.push(record);
  }

  async admit(): Promise<never> {
    throw new Error("the API admits no session");
  }

  async remove(): Promise<void> {
    throw new Error("the API removes no session");
  }

  async ofUser(app: string, userId: string): Promise<readonly SessionRecord[]> {
    this.fault?.();
    return this.records.filter((record) => record.app === app && record.userId === userId);
  }

  async renewEdge(): Promise<void> {
    throw new Error("the API renews no lease");
  }
}

export interface LogLine {
  readonly level: string;
  readonly fields: object;
  readonly message: string;
}

export type HarnessOptions = Partial<Omit<ApiServerOptions, "deps" | "logger">>;

export class ApiHarness {
  readonly broker: FaultyBroker;
  readonly directory: FaultyDirectory;
  readonly registry = new FakeRegistry();
  readonly revocations: Revocations;
  revocationsAreAway = false;
  readonly log: LogLine[] = [];
  readonly offers: OfferPart;
  readonly chat: ChatPart;
  readonly presence = new MemoryPresenceStore();
  readonly locations = new MemoryLocations();
  readonly server: ApiServer;
  readonly #clients: ApiClient[] = [];
  #port = 0;

  constructor(options: HarnessOptions = {}) {
    const clock = { nowUs: () => NOW_MS * 1_000 };
    const channels = new MemoryChannels(clock);
    this.broker = new FaultyBroker({ channels });
    this.directory = new FaultyDirectory({ clock });
    const line = (level: string) => (fields: object, message: string) => {
      this.log.push({ level, fields, message });
    };
    const logger = { debug: line("debug"), info: line("info"), warn: line("warn"), error: line("error") };
    const publisher = new Publisher({ broker: this.broker, clock, deliverLocally: () => undefined });
    this.offers = new OfferPart({
      offers: new MemoryOffers({ clock }),
      ...{ publisher, clock, logger },
      online: { isOnline: () => Promise.resolve(true) },
      onFailure: () => undefined,
      partitions: () => [],
    });
    const revoked = new MemoryRevocationStore({ clock, maxRevocations: 5 });
    this.revocations = new Revocations({
      store: {
        ...{ since: (mark) => revoked.since(mark), listen: () => Promise.resolve(), close: () => undefined },
        add: (each) => (this.revocationsAreAway ? Promise.reject(unavailable()) : revoked.add(each)),
      },
      ...{ clock, logger, counters: new FanoutCounters(), onRevoked: () => undefined },
      ...{ maxTokenLifetimeMs: 3_600_000, maxRevocations: 5 },
    });
    const { directory, broker } = this;
    const participations = new Participations({ directory, broker });
    const relations = new GrantedRelations({ directory });
    this.chat = new ChatPart({
      ...{ broker, directory, publisher, participations, clock },
      marks: new MemoryChatMarks(channels.chat),
      relations,
      ownParticipations: new OwnParticipations({ relations, clock }),
      counters: new FanoutCounters(),
      nowMs: () => NOW_MS,
      settings: {},
    });
    this.server = new ApiServer({
      host: "127.0.0.1",
      port: 0,
      serviceTokens: [TOKEN],
      reflection: false,
      ...options,
      logger,
      deps: {
        publisher,
        participations,
        directory: this.directory,
        sessions: this.registry,
        broker: this.broker,
        offers: this.offers.desk,
        chat: this.chat,
        presence: this.presence,
        locations: this.locations,
        revocations: this.revocations,
        clock,
      },
    });
  }

  static async start(options: HarnessOptions = {}): Promise<ApiHarness> {
    const harness = new ApiHarness(options);
    harness.#port = (await harness.server.start()).port;
    return harness;
  }

  get address(): string {
    return `localhost:${this.#port}`;
  }

  client(options: { token?: string; credentials?: ChannelCredentials } = {}): ApiClient {
    const client = new ApiClient({
      address: this.address,
      credentials: options.credentials ?? credentials.createInsecure(),
      token: options.token ?? TOKEN,
    });
    this.#clients.push(client);
    return client;
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.close();
    this.chat.stop();
    await this.server.stop(1_000);
    await this.broker.close();
  }
}
