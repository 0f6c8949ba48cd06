/**
 * What a fanout is made of: the ports that it stores in and hears through, and its settings. `fanout.ts` puts its
 * parts together on them; `services/fanout` chooses them.
 */
import type { Dependency } from "#proto/gen/realtime/link/v1/link.js";
import type { Broker } from "./channel/broker.js";
import type { ChannelKind } from "./channel/channel-kinds.js";
import type { OutboxTopics } from "./channel/outbox-topics.js";
import type { ChatSettings } from "./chat/chat-part.js";
import type { ChatMarks } from "./chat/marks.js";
import type { DataLossWatch } from "./data-loss.js";
import type { Directory } from "./directory/directory.js";
import type { EventSink } from "./event/event-sink.js";
import type { EventSource } from "./event/event-source.js";
import type { Logger } from "./fanout-logger.js";
import type { Limits } from "./limits/limits.js";
import type { RateLimits } from "./limits/rate-limits.js";
import type { LocationLimits } from "./location/location-sanity.js";
import type { Locations } from "./location/locations.js";
import type { NotificationSettings } from "./notification/notification-part.js";
import type { SeenMarks } from "./notification/seen-marks.js";
import type { Offers } from "./offer/offers.js";
import type { Outbox } from "./outbox/outbox.js";
import type { PresenceSettings } from "./presence/presence.js";
import type { PresenceStore } from "./presence/presence-store.js";
import type { RevocationLog } from "./revocation/revocation-log.js";
import type { RevocationStore } from "./revocation/revocation-store.js";
import type { FrameHandlers } from "./session/frame-handler.js";
import type { ResumableSessions } from "./session/resumable-sessions.js";
import type { ResumeKeys } from "./session/resume-keys.js";
import type { SessionLimitSettings } from "./session/session-limit.js";
import type { SessionRegistry } from "./session/session-registry.js";
import type { TokenSettings } from "./session/token-part.js";
import type { StoreClock } from "./store-clock.js";

/** Everything that a fanout stores, or knows of others through the store. */
export interface FanoutStores {
  readonly broker: Broker;
  readonly directory: Directory;
  readonly locations: Locations;
  readonly chatMarks: ChatMarks;
  readonly seenMarks: SeenMarks;
  readonly registry: SessionRegistry;
  readonly resumables: ResumableSessions;
  readonly resumeKeys: ResumeKeys;
  readonly offers: Offers;
  readonly limits: Limits;
  readonly presence: PresenceStore;
  readonly revocations: RevocationStore;
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
  /** What locations must be like to be passed on. Default: `NO_LOCATION_LIMITS`. */
  readonly locationLimits?: LocationLimits;
  /** Which events must reach Kafka too. Default: chat and offers. */
  readonly outboxTopics?: OutboxTopics;
  /** Default: `DEFAULT_RATE_LIMITS`. */
  readonly rateLimits?: RateLimits;
  /** Default: see `ChatSettings`. */
  readonly chat?: ChatSettings;
  /** Default: see `NotificationSettings`. */
  readonly notifications?: NotificationSettings;
  /** With the lifetimes that the broker keeps to. Default: `CHANNEL_KINDS`. */
  readonly channelKinds?: ReadonlyMap<string, ChannelKind>;
  /** Default: `DEFAULT_TOKEN_SETTINGS`. */
  readonly tokens?: TokenSettings;
  /** Default: `DEFAULT_SESSION_LIMIT`. */
  readonly sessionLimit?: SessionLimitSettings;
  /** Absent where revocations live in the store alone. */
  readonly revocationLog?: RevocationLog | undefined;
  readonly presence?: PresenceSettings;
  /** How often followed channels are compared with the store. Default: every 10 s. */
  readonly sweepIntervalMs?: number;
  /** How the store and the bus do. */
  readonly dependencies: () => readonly Dependency[];
  /** The claim of a merchant's token that names their restaurant or shop. Default: none is read. */
  readonly merchantClaim?: string;
  /** For tests: handlers around those of the product. */
  readonly testHandlers?: (product: FrameHandlers) => FrameHandlers;
  readonly logger: Logger;
}
