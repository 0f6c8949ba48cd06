/** A gateway in this process, for tests of the checkers: on a broker, and on offers, that may lie. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { OriginList } from "#edge/admission/origin.js";
import { DEFAULT_JWT_OPTIONS, JwtVerifier } from "#edge/auth/jwt-verifier.js";
import { Edge } from "#edge/edge.js";
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import type { Broker } from "#fanout/channel/broker.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { MemorySeenMarks } from "#fanout/notification/seen-marks-memory.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { MemoryEventBus } from "#fanout/event/event-bus-memory.js";
import { Fanout } from "#fanout/fanout.js";
import { MemoryLimits } from "#fanout/limits/limits-memory.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import type { Offers } from "#fanout/offer/offers.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { MemoryResumableSessions } from "#fanout/session/resumable-sessions-memory.js";
import { MemoryRevocationStore } from "#fanout/revocation/revocation-store-memory.js";
import { MemoryResumeKeys } from "#fanout/session/resume-keys-memory.js";
import { MemorySessionRegistry } from "#fanout/session/session-registry-memory.js";
import { SystemClock } from "#fanout/store-clock.js";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { SILENT } from "#test/support/fanout-core.js";
import { RAISED_RATE_LIMITS } from "#test/support/raised-limits.js";

export const SMALL_GATEWAY_SECRET = "a-secret-of-at-least-thirty-two-bytes";

export interface SmallGateway {
  /** Where apps connect. */
  readonly url: string;
  readonly fanout: Fanout;
  readonly marks: MemoryChatMarks;
  stop(): Promise<void>;
}

export async function startSmallGateway(stores: {
  readonly broker: Broker;
  readonly offers?: Offers;
  readonly marks?: MemoryChatMarks;
}): Promise<SmallGateway> {
  const marks = stores.marks ?? new MemoryChatMarks();
  const fanout = new Fanout({
    ...{ fanoutId: "fanout-0", version: "test", logger: SILENT },
    stores: {
      broker: stores.broker,
      directory: new MemoryDirectory(),
      chatMarks: marks,
      seenMarks: new MemorySeenMarks(),
      locations: new MemoryLocations(),
      registry: new MemorySessionRegistry(),
      resumables: new MemoryResumableSessions(),
      resumeKeys: new MemoryResumeKeys(),
      revocations: new MemoryRevocationStore(),
      offers: stores.offers ?? new MemoryOffers(),
      limits: new MemoryLimits(),
      presence: new MemoryPresenceStore(),
      clock: new SystemClock(),
    },
    eventSink: new MemoryEventBus({ topics: [] }),
    ...{ locationSampleEvery: 10, locationTopic: "porter-events", dependencies: () => [] },
    rateLimits: RAISED_RATE_LIMITS,
  });
  const edge = new Edge({
    ...{ edgeId: "edge-0", version: "test", logger: SILENT },
    discovery: fanoutDiscovery("loopback"),
    connect: () => {
      const [left, right] = loopbackLink();
      fanout.acceptLink(right);
      return left;
    },
    verifier: await JwtVerifier.create({ ...DEFAULT_JWT_OPTIONS, socketSecret: SMALL_GATEWAY_SECRET }),
    ...{ origins: new OriginList(["*"]), admission: {}, maxPayloadBytes: 65_536, maxFragments: 128 },
    ...{ firstFrameDeadlineMs: 10_000, heartbeatIntervalMs: 25_000, maxQueuedBytes: 268_435_456 },
    slow: { conflateBytes: 65_536, closeBytes: 1_048_576 },
    ...{ trustedProxies: 0, trustUserType: false, maxConnectionLifetimeMs: 0 },
  });
  edge.start();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => edge.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`,
    ...{ fanout, marks },
    stop: async () => {
      edge.stop();
      await fanout.stop();
      server.close();
    },
  };
}
