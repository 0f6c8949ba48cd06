/**
 * A fanout: sessions, channels, permissions, locations, and the ways in for backend services and Kafka.
 * This file puts its parts together on the ports that it is given; `services/fanout` chooses their
 * implementations and gives it a process.
 */
import { randomUUID } from "node:crypto";
import type { LinkStream } from "#proto/link/link-stream.js";
import { Channels } from "./channel/channels.js";
import { Publisher } from "./channel/publisher.js";
import { ChatPart } from "./chat/chat-part.js";
import { Participations } from "./directory/participations.js";
import { EventConsumer } from "./event/event-consumer.js";
import { FanoutCounters } from "./fanout-counters.js";
import type { FanoutOptions } from "./fanout-options.js";
import { Allowances } from "./limits/allowances.js";
import { FrameGate } from "./limits/frame-gate.js";
import { LinkHost } from "./link/link-host.js";
import { LastKnownLocations } from "./location/last-known-locations.js";
import { LocationSampler } from "./location/location-sampler.js";
import { NO_LOCATION_LIMITS } from "./location/location-sanity.js";
import { locationUpdateHandler } from "./location/location-update.js";
import { LocationWriter } from "./location/location-writer.js";
import { nearbyHandler } from "./location/nearby-handler.js";
import { NearbyWorkers } from "./location/nearby-workers.js";
import { WorkerAssignments } from "./location/worker-assignments.js";
import { broadcastsOf } from "./notification/broadcast-channels.js";
import { expiredBy } from "./notification/notification-expiry.js";
import { NotificationPart } from "./notification/notification-part.js";
import { OfferPart } from "./offer/offer-part.js";
import { RegisteredUsers } from "./offer/online-users.js";
import { withStandingOffers } from "./offer/standing-offers.js";
import { OutboxRelay } from "./outbox/outbox-relay.js";
import { GrantedRelations } from "./policy/relations.js";
import { Presence } from "./presence/presence.js";
import { PresenceDirectory } from "./presence/presence-directory.js";
import { ChannelEntry } from "./session/channel-entry.js";
import { FrameDispatcher } from "./session/frame-dispatcher.js";
import type { FrameHandlers } from "./session/frame-handler.js";
import { customHandler } from "./session/handlers/custom.js";
import { historyHandler } from "./session/handlers/history.js";
import { pingHandler } from "./session/handlers/ping.js";
import { resumeHandler } from "./session/handlers/resume.js";
import { subscribeHandler, unsubscribeHandler } from "./session/handlers/subscribe.js";
import { OwnFollowing } from "./session/own-following.js";
import { OwnParticipations } from "./session/own-participations.js";
import { RegistryKeeper } from "./session/registry-keeper.js";
import { MembershipCheck } from "./session/membership-check.js";
import { OpeningQueue } from "./session/opening-queue.js";
import { ResumableKeeper } from "./session/resumable-keeper.js";
import type { Session } from "./session/session.js";
import { SessionHost } from "./session/session-host.js";
import { DEFAULT_SESSION_LIMIT, SessionLimit, sessionsAtOneHome } from "./session/session-limit.js";
import { SessionOpener } from "./session/session-opener.js";
import { SessionResumer } from "./session/session-resumer.js";
import { DEFAULT_TOKEN_SETTINGS, TokenPart } from "./session/token-part.js";
import { Sweep } from "./sweep.js";

const EXPIRY_CHECK_MS = 2000;
const RECORDS_TICK_MS = 1000;
/** Records are written again at least so often, and several times within their lifetime (SESSION_TTL). */
const RECORDS_REFRESH_MS = 3_600_000;
const REFRESHES_IN_LIFETIME = 4;

export class Fanout {
  readonly counters = new FanoutCounters();
  readonly publisher: Publisher;
  readonly participations: Participations;
  readonly consumer: EventConsumer;
  readonly relay: OutboxRelay | undefined;
  readonly offers: OfferPart;
  readonly presence: Presence;
  readonly chat: ChatPart;
  readonly tokens: TokenPart;
  readonly #options: FanoutOptions;
  readonly #channels: Channels;
  readonly #opening = new OpeningQueue<Session>();
  readonly #sessions: SessionHost;
  readonly #links: LinkHost;
  readonly #locationWriter: LocationWriter;
  readonly #resumables: ResumableKeeper;
  readonly #sweep: Sweep;
  readonly #timers: readonly NodeJS.Timeout[];

  constructor(options: FanoutOptions) {
    this.#options = options;
    const { counters } = this;
    const { logger, fanoutId } = options;
    const { broker, locations, registry, clock, resumeKeys } = options.stores;
    const directory = new PresenceDirectory(options.stores.directory, options.presence?.visibility);
    const relations = new GrantedRelations({ directory, merchantClaim: options.merchantClaim });
    const nowMs = (): number => performance.now();
    const isOver = expiredBy(
      () => clock.nowUs() / 1000,
      () => (counters.notificationsExpired += 1),
    );
    this.#channels = new Channels({
      broker,
      counters,
      isOver,
      logger,
      nowMs,
      ...(options.channelKinds && { kinds: options.channelKinds }),
      onSignal: (channel, signal) => this.#sessions.signal(channel, signal),
      onInterrupted: (channel) => this.#sessions.membersChanged(channel),
      membersVersion: async (channel) => (await directory.versions([channel]))[0] ?? 0,
    });
    const channels = this.#channels;
    this.publisher = new Publisher({
      broker,
      clock,
      deliverLocally: (channel, message) => channels.deliverLocally(channel, message),
      ...(options.outboxTopics && { outboxTopics: options.outboxTopics }),
    });
    this.participations = new Participations({ directory, broker });
    this.presence = new Presence({ options, publisher: this.publisher, counters, nowMs });
    const { presence } = this;
    this.offers = new OfferPart({
      offers: options.stores.offers,
      publisher: this.publisher,
      online: new RegisteredUsers(registry),
      clock,
      logger,
      onFailure: () => (counters.storeFailures += 1),
      partitions: () => this.relay?.partitions ?? [],
    });
    this.tokens = new TokenPart({
      ...(options.tokens ?? DEFAULT_TOKEN_SETTINGS),
      stores: options.stores,
      log: options.revocationLog,
      sessions: () => this.#sessions,
      counters,
      logger,
    });
    const { standing } = this.offers;
    const assignments = new WorkerAssignments({ directory, clock, nowMs });
    this.#locationWriter = new LocationWriter({ locations, counters });
    const sampler = new LocationSampler({
      sink: options.eventSink,
      sampleEvery: options.locationSampleEvery,
      topic: options.locationTopic,
      counters,
    });
    const lastKnown = new LastKnownLocations({ directory, locations, clock });
    const participations = new OwnParticipations({ relations, clock });
    this.chat = new ChatPart({
      ...options.stores,
      marks: options.stores.chatMarks,
      publisher: this.publisher,
      participations: this.participations,
      ownParticipations: participations,
      ...{ relations, counters },
      nowMs,
      settings: options.chat ?? {},
    });
    const notifications = new NotificationPart({
      ...{ broker, participations, clock, counters },
      marks: options.stores.seenMarks,
      publisher: this.publisher,
      followed: (channel) => channels.get(channel),
      kinds: options.channelKinds,
    });
    const entry = new ChannelEntry({ channels, broker, relations, lastKnown, presence, isOver });
    const product: FrameHandlers = {
      subscribe: withStandingOffers(subscribeHandler(entry), standing),
      unsubscribe: unsubscribeHandler(channels),
      resume: resumeHandler(),
      ping: pingHandler(clock),
      locationUpdate: locationUpdateHandler({
        assignments,
        writer: this.#locationWriter,
        sampler,
        publisher: this.publisher,
        counters,
        limits: options.locationLimits ?? NO_LOCATION_LIMITS,
        availability: presence.availability,
      }),
      nearby: nearbyHandler(new NearbyWorkers(options.stores)),
      custom: customHandler({ publisher: this.publisher, participations }),
      history: historyHandler({ broker, participations, isOver }),
      ...this.offers.handlers,
      ...presence.handlers(participations),
      ...this.tokens.handlers,
      ...this.chat.handlers,
      ...notifications.handlers,
    };
    const handlers = options.testHandlers?.(product) ?? product;
    const records = new RegistryKeeper(registry);
    const resumables = new ResumableKeeper({ store: options.stores.resumables, counters });
    this.#resumables = resumables;
    const limit = options.sessionLimit ?? DEFAULT_SESSION_LIMIT;
    const opener = new SessionOpener({
      fanoutId,
      limit: new SessionLimit({ ...limit, registry: records, broker, counters, nowMs }),
      channels,
      entry,
      directory,
      registry: records,
      resumables,
      resumeKeys,
      clock,
      counters,
      ...(options.notifications?.followBroadcasts !== false && { broadcasts: broadcastsOf }),
    });
    const { rateLimits, stores } = options;
    const allowances = new Allowances({ limits: stores.limits, rateLimits, counters, nowMs });
    const gate = new FrameGate({ counters });
    this.#sessions = new SessionHost({
      channels,
      registry: records,
      presence: presence.keeper,
      resumables,
      assignments,
      allowances,
      counters,
      logger,
      dispatcher: new FrameDispatcher({ handlers, gate, clock, counters, logger }),
      opening: this.#opening,
      tokens: this.tokens.watch,
      tokenChecks: this.tokens.checks,
      opener,
      resumer: new SessionResumer({
        store: options.stores.resumables,
        resumables,
        resumeKeys,
        opener,
        entry,
        channels,
        broker,
        clock,
        counters,
      }),
      relations,
      membership: new MembershipCheck({ relations, channels, counters }),
      ownFollowing: new OwnFollowing({ relations, channels, entry, counters }),
      onBegun: (session) => void standing.tell(session),
      maxPerUser: sessionsAtOneHome(limit),
    });
    this.#links = new LinkHost({
      fanoutId,
      version: options.version,
      sessions: this.#sessions,
      registry,
      clock,
      counters,
      logger,
      nowMs,
      dependencies: options.dependencies,
      accepting: () => options.dependencies().every(({ name, up }) => name !== "redis" || up),
    });
    this.#timers = [
      setInterval(() => this.#sessions.checkExpired(clock.nowUs() / 1000), EXPIRY_CHECK_MS).unref(),
      setInterval(() => void records.tick(), RECORDS_TICK_MS).unref(),
      setInterval(() => void resumables.tick(), RECORDS_TICK_MS).unref(),
      setInterval(
        () => this.#sessions.refreshRecords(),
        Math.min(RECORDS_REFRESH_MS, options.stores.resumables.ttlMs / REFRESHES_IN_LIFETIME),
      ).unref(),
    ];
    const { dataLoss } = options.stores;
    this.tokens.revocations.start();
    dataLoss?.listen({
      lost: (partitions) => this.#dataLost(partitions),
      rebuilt: (partitions) => {
        for (const followed of channels.inPartitions(partitions)) followed.membersMayHaveChanged();
      },
    });
    this.#sweep = new Sweep({
      channels,
      broker,
      directory,
      counters,
      ...(dataLoss && { dataLoss }),
      ...(options.sweepIntervalMs !== undefined && { intervalMs: options.sweepIntervalMs }),
    });
    this.relay =
      options.outbox &&
      new OutboxRelay({
        outbox: options.outbox,
        sink: options.eventSink,
        holder: `${fanoutId}/${randomUUID()}`,
        logger,
        nowMs,
      });
    this.consumer = new EventConsumer({
      publisher: this.publisher,
      participations: this.participations,
      directory,
      offers: this.offers.desk,
      chat: this.chat.services,
      logger,
      now: Date.now,
    });
  }

  get sessions(): number {
    return this.#sessions.sessions;
  }

  /** Sessions that wait to be opened. */
  get sessionsWaiting(): number {
    return this.#opening.waiting;
  }

  get sessionsOpening(): number {
    return this.#opening.underWay;
  }

  get onlineUsers(): number {
    return this.#sessions.users;
  }

  get followedChannels(): number {
    return this.#channels.size;
  }

  get links(): number {
    return this.#links.links;
  }

  get linkQueuedBytes(): number {
    return this.#links.queuedBytes;
  }

  get waitingLocations(): number {
    return this.#locationWriter.waiting;
  }

  /** Begins to consume events of other services and to relay the outbox to them, where this fanout has the roles. */
  async start(): Promise<void> {
    this.relay?.start();
    this.offers.start();
    void this.tokens.revocations.startLog();
    await this.#options.eventSource?.start(this.consumer.handle);
  }

  /** Takes a stream that an edge has opened. */
  acceptLink(stream: LinkStream): void {
    this.#links.accept(stream);
  }

  /** A dependency came or went: edges hear it at once. */
  dependenciesChanged(): void {
    // Back again, the store may have lost what it had.
    if (this.#options.dependencies().every(({ up }) => up)) this.#sessions.refreshRecords();
    this.#links.tellStatus();
  }

  /** Lets the edges take all sessions elsewhere. */
  async drain(withinMs: number): Promise<void> {
    await this.#links.drain(withinMs);
  }

  /** Ends what is left, and writes what waits. */
  async stop(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer);
    this.#sweep.stop();
    this.presence.stop();
    this.chat.stop();
    this.#links.stop();
    await this.tokens.revocations.stop();
    await this.#resumables.stop();
    await this.#options.eventSource?.stop();
    await this.offers.stop();
    await this.relay?.stop();
    await this.#locationWriter.stop();
    await this.#options.eventSink.close();
    this.#channels.close();
    await this.#options.stores.broker.close();
  }

  /** Live sockets keep what they have: their channels compare and tell them, and their records are written again. */
  #dataLost(partitions: ReadonlySet<number>): void {
    this.counters.partitionsLost += partitions.size;
    this.#options.logger.error({ partitions: partitions.size }, "the store lost data");
    for (const followed of this.#channels.inPartitions(partitions)) followed.lose();
    this.#sessions.refreshRecords();
  }
}
