/**
 * A fanout: sessions, channels, permissions, locations, and the ways in for backend services and Kafka.
 * This file puts its parts together on the ports that it is given; `services/fanout` chooses their
 * implementations and gives it a process.
 */
import type { LinkStream } from "#proto/link/link-stream.js";
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import type { Broker } from "./channel/broker.js";
import { Channels } from "./channel/channels.js";
import { Publisher } from "./channel/publisher.js";
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
import { FrameDispatcher } from "./session/frame-dispatcher.js";
import type { FrameHandlers } from "./session/frame-handler.js";
import { pingHandler } from "./session/handlers/ping.js";
import { subscribeHandler, unsubscribeHandler } from "./session/handlers/subscribe.js";
import { RegistryKeeper } from "./session/registry-keeper.js";
import { MembershipCheck } from "./session/membership-check.js";
import { SessionHost } from "./session/session-host.js";
import { SessionOpener } from "./session/session-opener.js";
import type { SessionRegistry } from "./session/session-registry.js";
import type { StoreClock } from "./store-clock.js";

/** Everything that a fanout stores, or knows of others through the store. */
export interface FanoutStores {
  readonly broker: Broker;
  readonly directory: Directory;
  readonly locations: Locations;
  readonly registry: SessionRegistry;
  readonly clock: StoreClock;
}

export interface FanoutOptions {
  /** The fanout's stable name: what rendezvous hashing takes. */
  readonly fanoutId: string;
  readonly version: string;
  readonly stores: FanoutStores;
  readonly eventSink: EventSink;
  /** Absent where this fanout does not have the role "consume". */
  readonly eventSource?: EventSource;
  /** One in so many of a worker's locations goes to `locationTopic`. */
  readonly locationSampleEvery: number;
  readonly locationTopic: string;
  /** How the store and the bus do. */
  readonly dependencies: () => readonly Dependency[];
  /** For tests: handlers beyond those of the product. */
  readonly testHandlers?: FrameHandlers;
  readonly logger: Logger;
}

const EXPIRY_CHECK_MS = 2000;
const RECORDS_TICK_MS = 1000;
/** Well within the lifetime of a record (SESSION_TTL, 24 h). */
const RECORDS_REFRESH_MS = 3_600_000;

export class Fanout {
  readonly counters = new FanoutCounters();
  readonly publisher: Publisher;
  readonly participations: Participations;
  readonly consumer: EventConsumer;
  readonly #options: FanoutOptions;
  readonly #channels: Channels;
  readonly #sessions: SessionHost;
  readonly #links: LinkHost;
  readonly #locationWriter: LocationWriter;
  readonly #timers: readonly NodeJS.Timeout[];

  constructor(options: FanoutOptions) {
    this.#options = options;
    const { counters } = this;
    const { logger, fanoutId } = options;
    const { broker, directory, locations, registry, clock } = options.stores;
    const nowMs = (): number => performance.now();
    this.#channels = new Channels({
      broker,
      counters,
      logger,
      nowMs,
      onSignal: (channel, signal) => this.#sessions.signal(channel, signal),
      onInterrupted: (channel) => this.#sessions.membersChanged(channel),
    });
    const channels = this.#channels;
    this.publisher = new Publisher({
      broker,
      clock,
      deliverLocally: (channel, message) => channels.deliverLocally(channel, message),
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
    const lastKnown = new LastKnownLocations({ directory, locations });
    const handlers: FrameHandlers = {
      subscribe: subscribeHandler({ channels, broker, directory, lastKnown }),
      unsubscribe: unsubscribeHandler(channels),
      ping: pingHandler(clock),
      locationUpdate: locationUpdateHandler({
        assignments,
        writer: this.#locationWriter,
        sampler,
        publisher: this.publisher,
        counters,
      }),
      ...options.testHandlers,
    };
    const records = new RegistryKeeper(registry);
    this.#sessions = new SessionHost({
      channels,
      registry: records,
      assignments,
      counters,
      logger,
      dispatcher: new FrameDispatcher({ handlers, clock, counters, logger }),
      opener: new SessionOpener({
        fanoutId,
        channels,
        broker,
        directory,
        registry: records,
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
      setInterval(() => this.#sessions.refreshRecords(), RECORDS_REFRESH_MS).unref(),
    ];
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

  /** Begins to consume events of other services, where this fanout has the role. */
  async start(): Promise<void> {
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
    this.#links.stop();
    await this.#options.eventSource?.stop();
    await this.#locationWriter.stop();
    await this.#options.eventSink.close();
    this.#channels.close();
    await this.#options.stores.broker.close();
  }
}
