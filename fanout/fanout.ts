/**
 * A fanout: sessions, channels, permissions, locations, and the ways in for backend services and Kafka.
 * This file puts its parts together on the ports that it is given; `services/fanout` chooses their
 * implementations and gives it a process.
 */
import { randomUUID } from "node:crypto";
import type { LinkStream } from "#proto/link/link-stream.js";
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import type { Broker } from "./channel/broker.js";
import { Channels } from "./channel/channels.js";
import type { OutboxTopics } from "./channel/outbox-topics.js";
import { Publisher } from "./channel/publisher.js";
import type { DataLossWatch } from "./data-loss.js";
import type { Directory } from "./directory/directory.js";
import { Participations } from "./directory/participations.js";
import { EventConsumer } from "./event/event-consumer.js";
import type { EventSink } from "./event/event-sink.js";
import type { EventSource } from "./event/event-source.js";
import { FanoutCounters } from "./fanout-counters.js";
import type { Logger } from "./fanout-logger.js";
import { LinkHost } from "./link/link-host.js";
import { LastKnownLocations } from "./location/last-known-locations.js";
import { LocationSampler } from "./location/location-sampler.js";
import { locationUpdateHandler } from "./location/location-update.js";
import { LocationWriter } from "./location/location-writer.js";
import type { Locations } from "./location/locations.js";
import { WorkerAssignments } from "./location/worker-assignments.js";
import type { Outbox } from "./outbox/outbox.js";
import { OutboxRelay } from "./outbox/outbox-relay.js";
import { ChannelEntry } from "./session/channel-entry.js";
import { FrameDispatcher } from "./session/frame-dispatcher.js";
import type { FrameHandlers } from "./session/frame-handler.js";
import { customHandler } from "./session/handlers/custom.js";
import { historyHandler } from "./session/handlers/history.js";
import { pingHandler } from "./session/handlers/ping.js";
import { resumeHandler } from "./session/handlers/resume.js";
import { subscribeHandler, unsubscribeHandler } from "./session/handlers/subscribe.js";
import { OwnParticipations } from "./session/own-participations.js";
import { RegistryKeeper } from "./session/registry-keeper.js";
import { MembershipCheck } from "./session/membership-check.js";
import { ResumableKeeper } from "./session/resumable-keeper.js";
import type { ResumableSessions } from "./session/resumable-sessions.js";
import type { ResumeKeys } from "./session/resume-keys.js";
import { SessionHost } from "./session/session-host.js";
import { SessionOpener } from "./session/session-opener.js";
import type { SessionRegistry } from "./session/session-registry.js";
import { SessionResumer } from "./session/session-resumer.js";
import type { StoreClock } from "./store-clock.js";
import { Sweep } from "./sweep.js";

/** Everything that a fanout stores, or knows of others through the store. */
export interface FanoutStores {
  readonly broker: Broker;
  readonly directory: Directory;
  readonly locations: Locations;
  readonly registry: SessionRegistry;
  readonly resumables: ResumableSessions;
  readonly resumeKeys: ResumeKeys;
  readonly clock: StoreClock;
  /** Absent where what is stored is lost only with the process. */
  readonly dataLoss?: DataLossWatch;
}

export interface FanoutOptions {
  /** The fanout's stable name: what rendezvous hashing takes. */
  readonly fanoutId: string;
  readonly version: string;
  readonly stores: FanoutStores;
  readonly eventSink: EventSink;
  /** Absent where this fanout does not have the role "consume". */
  readonly eventSource?: EventSource;
  /** Absent where this fanout does not have the role "relay". */
  readonly outbox?: Outbox;
  /** One in so many of a worker's locations goes to `locationTopic`. */
  readonly locationSampleEvery: number;
  readonly locationTopic: string;
  /** Which events must reach Kafka too. Default: chat and offers. */
  readonly outboxTopics?: OutboxTopics;
  /** How often followed channels are compared with the store. Default: every 10 s. */
  readonly sweepIntervalMs?: number;
  /** How the store and the bus do. */
  readonly dependencies: () => readonly Dependency[];
  /** For tests: handlers around those of the product. */
  readonly testHandlers?: (product: FrameHandlers) => FrameHandlers;
  readonly logger: Logger;
}

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
  readonly #options: FanoutOptions;
  readonly #channels: Channels;
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
    const { broker, directory, locations, registry, clock, resumeKeys } = options.stores;
    const nowMs = (): number => performance.now();
    this.#channels = new Channels({
      broker,
      counters,
      logger,
      nowMs,
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
    const assignments = new WorkerAssignments({ directory, nowMs });
    this.#locationWriter = new LocationWriter({ locations, counters });
    const sampler = new LocationSampler({
      sink: options.eventSink,
      sampleEvery: options.locationSampleEvery,
      topic: options.locationTopic,
      counters,
    });
    const lastKnown = new LastKnownLocations({ directory, locations, clock });
    const participations = new OwnParticipations({ directory, clock });
    const entry = new ChannelEntry({ channels, broker, directory, lastKnown });
    const product: FrameHandlers = {
      subscribe: subscribeHandler(entry),
      unsubscribe: unsubscribeHandler(channels),
      resume: resumeHandler(),
      ping: pingHandler(clock),
      locationUpdate: locationUpdateHandler({
        assignments,
        writer: this.#locationWriter,
        sampler,
        publisher: this.publisher,
        counters,
      }),
      custom: customHandler({ publisher: this.publisher, participations }),
      history: historyHandler({ broker, participations }),
    };
    const handlers = options.testHandlers?.(product) ?? product;
    const records = new RegistryKeeper(registry);
    const resumables = new ResumableKeeper({ store: options.stores.resumables, counters });
    this.#resumables = resumables;
    const opener = new SessionOpener({
      fanoutId,
      channels,
      entry,
      directory,
      registry: records,
      resumables,
      resumeKeys,
      clock,
      counters,
    });
    this.#sessions = new SessionHost({
      channels,
      registry: records,
      resumables,
      assignments,
      counters,
      logger,
      dispatcher: new FrameDispatcher({ handlers, clock, counters, logger }),
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
      membership: new MembershipCheck({ directory, channels, counters }),
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
      logger,
      now: Date.now,
    });
  }

  get sessions(): number {
    return this.#sessions.sessions;
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
    this.#links.stop();
    await this.#resumables.stop();
    await this.#options.eventSource?.stop();
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
