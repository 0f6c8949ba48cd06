import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { afterEach, expect, it } from "vitest";
import { Edge } from "#edge/edge.js";
import { OriginList } from "#edge/admission/origin.js";
import { DEFAULT_JWT_OPTIONS, JwtVerifier } from "#edge/auth/jwt-verifier.js";
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import { MemoryBroker } from "#fanout/channel/broker-memory.js";
import { channelOf } from "#fanout/channel/channel.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { MemorySeenMarks } from "#fanout/notification/seen-marks-memory.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import { MemoryEventBus } from "#fanout/event/event-bus-memory.js";
import { Fanout } from "#fanout/fanout.js";
import { MemoryLimits } from "#fanout/limits/limits-memory.js";
import { MemoryLocations } from "#fanout/location/locations-memory.js";
import { MemoryOffers } from "#fanout/offer/offers-memory.js";
import { MemoryPresenceStore } from "#fanout/presence/presence-store-memory.js";
import { MemoryResumableSessions } from "#fanout/session/resumable-sessions-memory.js";
import { MemoryRevocationStore } from "#fanout/revocation/revocation-store-memory.js";
import { MemoryResumeKeys } from "#fanout/session/resume-keys-memory.js";
import { MemorySessionRegistry } from "#fanout/session/session-registry-memory.js";
import { SystemClock } from "#fanout/store-clock.js";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { AppClient } from "#test/support/app-client.js";

const SECRET = "a-secret-of-at-least-thirty-two-bytes";
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function token(sub: string, role: string): Promise<string> {
  return new SignJWT({ role })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(sub)
    .setExpirationTime("1h")
    .sign(Buffer.from(SECRET));
}

async function gateway() {
  const fanout = new Fanout({
    fanoutId: "fanout-0",
    version: "test",
    stores: {
      broker: new MemoryBroker(),
      directory: new MemoryDirectory(),
      chatMarks: new MemoryChatMarks(),
      seenMarks: new MemorySeenMarks(),
      locations: new MemoryLocations(),
      registry: new MemorySessionRegistry(),
      resumables: new MemoryResumableSessions(),
      resumeKeys: new MemoryResumeKeys(),
      revocations: new MemoryRevocationStore(),
      offers: new MemoryOffers(),
      limits: new MemoryLimits(),
      presence: new MemoryPresenceStore(),
      clock: new SystemClock(),
    },
    eventSink: new MemoryEventBus({ topics: [] }),
    locationSampleEvery: 10,
    locationTopic: "porter-events",
    dependencies: () => [],
    logger: silent,
  });
  const edge = new Edge({
    edgeId: "edge-0",
    version: "test",
    discovery: fanoutDiscovery("loopback"),
    connect: () => {
      const [left, right] = loopbackLink();
      fanout.acceptLink(right);
      return left;
    },
    verifier: await JwtVerifier.create({ ...DEFAULT_JWT_OPTIONS, socketSecret: SECRET }),
    origins: new OriginList(["*"]),
    admission: {},
    maxPayloadBytes: 65_536,
    maxFragments: 128,
    firstFrameDeadlineMs: 10_000,
    heartbeatIntervalMs: 25_000,
    maxConnectionLifetimeMs: 0,
    slow: { conflateBytes: 65_536, closeBytes: 1_048_576 },
    maxQueuedBytes: 268_435_456,
    trustedProxies: 0,
    trustUserType: false,
    logger: silent,
  });
  edge.start();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => edge.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanups.push(async () => {
    edge.stop();
    await fanout.stop();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { fanout, edge, url: `ws://127.0.0.1:${port}/ws` };
}

it("a porter's locations and an order's status reach the customer, in one process", async () => {
  const { fanout, url } = await gateway();
  const order = channelOf("default", "order", "42");
  const expiresAtMs = Date.now() + 60_000;
  await fanout.participations.grant({ channel: order, userId: "c1", relation: "owner", expiresAtMs });
  await fanout.participations.grant({ channel: order, userId: "p1", relation: "assigned", expiresAtMs });
  const customer = await AppClient.connect({ url, token: await token("c1", "customer") });
  const porter = await AppClient.connect({ url, framing: "protobuf", token: await token("p1", "porter") });
  cleanups.push(
    () => customer.close(),
    () => porter.close(),
  );
  await customer.subscribe("order:42");
  for (let index = 0; index < 20; index += 1) {
    const value = { latitude: index, longitude: 2, timestampMs: 0, orderId: "" };
    const answer = await porter.request({ $case: "locationUpdate", value });
    expect(answer.$case).toBe("reply");
  }
  await customer.until(() => customer.eventsOf("order:42", "location").at(19), { what: "20 locations" });
  const latitudes = customer
    .eventsOf("order:42")
    .map(({ body }) => (body?.$case === "location" ? body.value.latitude : -1));
  expect(latitudes).toEqual(Array.from({ length: 20 }, (_, index) => index));
  await fanout.publisher.publish({
    channel: order,
    event: Event.fromPartial({
      body: { $case: "orderStatus", value: { orderId: "42", status: "delivered" } },
    }),
  });
  const [status] = await customer.until(
    () => {
      const found = customer.eventsOf("order:42", "orderStatus");
      return found.length > 0 ? found : undefined;
    },
    { what: "the status" },
  );
  expect(status?.position?.offset).toBe(1);
  await expect(
    AppClient.connect({ url, token: await token("x", "customer") }).then((stranger) => {
      cleanups.push(() => stranger.close());
      return stranger.subscribe("order:42");
    }),
  ).rejects.toThrow(/PERMISSION|"code":2/);
});
