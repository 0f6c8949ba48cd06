/**
 * A whole fanout on memory stores, for unit tests of what its parts do together. Its broker can be made
 * unreliable; `elsewhere` is the broker of another fanout on the same stores, which `edgeElsewhere` is linked to.
 */
import type { Event } from "#proto/gen/realtime/client/v1/event.js";
import { VERIFY_TOKEN_FEATURE } from "#proto/link/features.js";
import type { Broker } from "#fanout/channel/broker.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { OutboxTopics } from "#fanout/channel/outbox-topics.js";
import { Publisher } from "#fanout/channel/publisher.js";
import type { ChatSettings } from "#fanout/chat/chat-part.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { Participations } from "#fanout/directory/participations.js";
import type { Relation } from "#fanout/directory/directory.js";
import { MemoryEventBus } from "#fanout/event/event-bus-memory.js";
import { Fanout } from "#fanout/fanout.js";
import { MemoryLimits } from "#fanout/limits/limits-memory.js";
import type { RateLimits } from "#fanout/limits/rate-limits.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { MemorySeenMarks } from "#fanout/notification/seen-marks-memory.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import type { PresenceSettings } from "#fanout/presence/presence.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { MemoryResumableSessions } from "#fanout/session/resumable-sessions-memory.js";
import { MemoryRevocationStore } from "#fanout/revocation/revocation-store-memory.js";
import { MemoryResumeKeys } from "#fanout/session/resume-keys-memory.js";
import { MemorySessionRegistry } from "#fanout/session/session-registry-memory.js";
import type { SessionLimitSettings } from "#fanout/session/session-limit.js";
import { SystemClock } from "#fanout/store-clock.js";
import { FakeEdge } from "./fake-edge.js";
import { RAISED_RATE_LIMITS } from "./raised-limits.js";
import { UnreliableBroker } from "./unreliable-broker.js";

export const SILENT = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
};

export class FanoutCore {
  readonly clock = new SystemClock();
  readonly memory = new MemoryChannels(this.clock);
  readonly broker = new UnreliableBroker(new MemoryBroker({ channels: this.memory }));
  readonly elsewhere = new MemoryBroker({ channels: this.memory });
  readonly directory = new MemoryDirectory({ clock: this.clock });
  readonly chatMarks = new MemoryChatMarks(this.memory.chat);
  readonly seenMarks = new MemorySeenMarks({ clock: this.clock });
  readonly locations = new MemoryLocations({ clock: this.clock });
  readonly registry = new MemorySessionRegistry();
  readonly resumables = new MemoryResumableSessions({ clock: this.clock });
  readonly resumeKeys = new MemoryResumeKeys();
  readonly revocations = new MemoryRevocationStore();
  readonly offers = new MemoryOffers({ outbox: this.memory.outbox, clock: this.clock });
  readonly limits = new MemoryLimits();
  readonly presence = new MemoryPresenceStore({ clock: this.clock });
  readonly participations = new Participations({ directory: this.directory, broker: this.elsewhere });
  readonly fanout: Fanout;
  readonly #rateLimits: RateLimits;
  readonly #sessionLimit: SessionLimitSettings | undefined;
  readonly #presenceSettings: PresenceSettings;
  readonly #chat: ChatSettings;
  readonly #followBroadcasts: boolean;
  #fanoutElsewhere: Fanout | undefined;
  readonly #publisher = new Publisher({
    broker: this.elsewhere,
    clock: this.clock,
    deliverLocally: () => undefined,
  });

  constructor(
    options: {
      readonly rateLimits?: RateLimits;
      readonly sessionLimit?: SessionLimitSettings;
      readonly chat?: ChatSettings;
      readonly presence?: PresenceSettings;
      /** Whether sessions follow their role's channel and everyone's. Default: no, so that they begin with their own. */
      readonly followBroadcasts?: boolean;
    } = {},
  ) {
    this.#sessionLimit = options.sessionLimit;
    this.#presenceSettings = options.presence ?? {};
    this.#chat = options.chat ?? {};
    this.#followBroadcasts = options.followBroadcasts ?? false;
    this.#rateLimits = options.rateLimits ?? RAISED_RATE_LIMITS;
    this.fanout = this.#fanoutOn("fanout-1", this.broker);
  }

  edge(): FakeEdge {
    const edge = new FakeEdge();
    this.fanout.acceptLink(edge);
    return edge.greet();
  }

  /** An edge that checks tokens where it is asked to. */
  checkingEdge(): FakeEdge {
    const edge = new FakeEdge();
    this.fanout.acceptLink(edge);
    return edge.greet({ features: [VERIFY_TOKEN_FEATURE] });
  }

  /** An edge that is linked to the other fanout. */
  edgeElsewhere(): FakeEdge {
    const edge = new FakeEdge();
    this.#fanoutElsewhere ??= this.#fanoutOn("fanout-2", this.elsewhere);
    this.#fanoutElsewhere.acceptLink(edge);
    return edge.greet();
  }

  async grant(channel: Channel, userId: string, relation: Relation = "owner"): Promise<void> {
    await this.participations.grant({ channel, userId, relation, expiresAtMs: Number.MAX_SAFE_INTEGER });
  }

  /** Publishes on the other fanout. */
  async publish(channel: Channel, body: NonNullable<Event["body"]> = status("any")): Promise<void> {
    await this.#publisher.publish({ channel, event: eventOf(body) });
  }

  async stop(): Promise<void> {
    await Promise.all([this.fanout.stop(), this.#fanoutElsewhere?.stop()]);
  }

  #fanoutOn(fanoutId: string, broker: Broker): Fanout {
    return new Fanout({
      fanoutId,
      version: "test",
      stores: {
        broker,
        directory: this.directory,
        locations: this.locations,
        chatMarks: this.chatMarks,
        seenMarks: this.seenMarks,
        registry: this.registry,
        resumables: this.resumables,
        resumeKeys: this.resumeKeys,
        revocations: this.revocations,
        offers: this.offers,
        limits: this.limits,
        presence: this.presence,
        clock: this.clock,
      },
      eventSink: new MemoryEventBus({ topics: [] }),
      locationSampleEvery: 10,
      locationTopic: "porter-events",
      outboxTopics: new OutboxTopics({ customTypes: ["job.done"], customTopic: "custom-events" }),
      rateLimits: this.#rateLimits,
      presence: this.#presenceSettings,
      chat: this.#chat,
      notifications: { followBroadcasts: this.#followBroadcasts },
      ...(this.#sessionLimit && { sessionLimit: this.#sessionLimit }),
      // Whose role is a merchant's names their restaurant so.
      merchantClaim: "restaurant",
      dependencies: () => [],
      logger: SILENT,
    });
  }
}

export const order = (id: string): Channel => channelOf("default", "order", id);

export function status(word: string): NonNullable<Event["body"]> {
  const value = {
    orderId: "42",
    status: word,
    previousStatus: "",
    workerId: "",
    message: "",
    data: undefined,
  };
  return { $case: "orderStatus", value };
}

export function location(workerId: string, latitude: number): NonNullable<Event["body"]> {
  return { $case: "location", value: { workerId, latitude, longitude: 0, measuredAtMs: 1, orderId: "" } };
}

export function eventOf(body: NonNullable<Event["body"]>): Event {
  return { id: "", channel: "", timeMs: 0, correlationId: "", traceparent: "", body };
}

/** A promise and its end, for a test to decide when something goes on. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = (): void => undefined;
  const opened = new Promise<void>((resolve) => (open = resolve));
  return { opened, open: () => open() };
}
