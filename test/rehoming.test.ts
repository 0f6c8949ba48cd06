/**
 * Sessions on their way from one fanout to another, in one process: a real edge and real fanouts on shared
 * memory stores, with each step of the way as slow as the test wants it.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { afterEach, expect, it } from "vitest";
import { OriginList } from "#edge/admission/origin.js";
import { DEFAULT_JWT_OPTIONS, JwtVerifier } from "#edge/auth/jwt-verifier.js";
import { Edge } from "#edge/edge.js";
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import { rendezvous } from "#edge/link/rendezvous.js";
import { MemoryBroker, MemoryChannels } from "#fanout/channel/broker-memory.js";
import { channelOf, type Channel } from "#fanout/channel/channel.js";
import { MemoryChatMarks } from "#fanout/chat/marks-memory.js";
import { MemorySeenMarks } from "#fanout/notification/seen-marks-memory.js";
import { MemoryDirectory } from "#fanout/directory/directory-memory.js";
import type { Participation } from "#fanout/directory/directory.js";
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
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";

const SECRET = "a-secret-of-at-least-thirty-two-bytes";
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const cleanups: (() => Promise<void> | void)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Answers only when the test lets it. */
class HeldDirectory extends MemoryDirectory {
  #hold: Promise<void> = Promise.resolve();
  asked = 0;

  /** Returns how to let the answers go. */
  hold(): () => void {
    let release: () => void = () => undefined;
    this.#hold = new Promise((resolve) => (release = resolve));
    return release;
  }

  override async participation(channel: Channel, userId: string): Promise<Participation | undefined> {
    this.asked += 1;
    await this.#hold;
    return super.participation(channel, userId);
  }
}

class TwoFanouts {
  readonly channels = new MemoryChannels();
  readonly directory = new HeldDirectory();
  readonly registry = new MemorySessionRegistry();
  readonly resumables = new MemoryResumableSessions();
  readonly resumeKeys = new MemoryResumeKeys();
  readonly revocations = new MemoryRevocationStore();
  readonly fanouts = new Map<string, Fanout>();
  readonly #streams = new Map<string, LinkStream>();
  url = "";

  async start(): Promise<void> {
    const edge = new Edge({
      edgeId: "edge-0",
      version: "test",
      discovery: fanoutDiscovery("a,b"),
      connect: (address) => this.#connect(address),
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
      for (const fanout of this.fanouts.values()) await fanout.stop();
      server.close();
    });
    this.url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`;
  }

  startFanout(name: string): Fanout {
    const fanout = new Fanout({
      fanoutId: name,
      version: "test",
      stores: {
        broker: new MemoryBroker({ channels: this.channels }),
        directory: this.directory,
        chatMarks: new MemoryChatMarks(this.channels.chat),
        seenMarks: new MemorySeenMarks(),
        locations: new MemoryLocations(),
        registry: this.registry,
        resumables: this.resumables,
        resumeKeys: this.resumeKeys,
        revocations: this.revocations,
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
    this.fanouts.set(name, fanout);
    return fanout;
  }

  /** As `kill -9` looks to the edge. */
  kill(name: string): void {
    this.fanouts.delete(name);
    this.#streams.get(name)?.destroy("killed");
  }

  async connect(userId: string): Promise<AppClient> {
    const token = await new SignJWT({ role: "customer" })
      .setProtectedHeader({ alg: "HS256" })
      .setSubject(userId)
      .setExpirationTime("1h")
      .sign(Buffer.from(SECRET));
    const client = await waitFor(() => AppClient.connect({ url: this.url, token }), { what: "a socket" });
    cleanups.push(() => client.close());
    return client;
  }

  #connect(address: string): LinkStream {
    const [ours, theirs] = loopbackLink();
    this.#streams.set(address, theirs);
    const fanout = this.fanouts.get(address);
    if (fanout === undefined) theirs.destroy("nobody listens");
    else fanout.acceptLink(theirs);
    return ours;
  }
}

async function start(...names: string[]): Promise<TwoFanouts> {
  const fanouts = new TwoFanouts();
  for (const name of names) fanouts.startFanout(name);
  await fanouts.start();
  return fanouts;
}

function userAt(fanout: string): string {
  for (let index = 0; ; index += 1) {
    const userId = `u${index}`;
    if (rendezvous(`default/${userId}`, [{ name: "a" }, { name: "b" }])?.name === fanout) return userId;
  }
}

function statuses(client: AppClient): string[] {
  return client
    .eventsOf("order:42", "orderStatus")
    .map(({ body }) => (body?.$case === "orderStatus" ? body.value.status : ""));
}

it("an event that comes while a drained session waits at its next home is delivered once", async () => {
  const running = await start("a", "b");
  const [a, b] = [running.fanouts.get("a"), running.fanouts.get("b")];
  if (a === undefined || b === undefined) throw new Error("fanouts are missing");
  await waitFor(() => a.links === 1 && b.links === 1, { what: "both links" });
  const userId = userAt("a");
  const order = channelOf("default", "order", "42");
  await a.participations.grant({
    channel: order,
    userId,
    relation: "owner",
    expiresAtMs: Date.now() + 60_000,
  });
  const client = await running.connect(userId);
  await client.subscribe("order:42");
  const publish = (status: string) =>
    b.publisher.publish({
      channel: order,
      event: Event.fromPartial({ body: { $case: "orderStatus", value: { orderId: "42", status } } }),
    });
  await publish("one");
  await client.until(() => statuses(client).at(0), { what: "the first status" });
  expect(a.sessions).toBe(1);

  const letGo = running.directory.hold();
  const asked = running.directory.asked;
  const drained = a.drain(5000);
  await waitFor(() => running.directory.asked > asked, { what: "the next home to ask for the permission" });
  await publish("two");
  await publish("three");
  letGo();
  await drained;
  await client.until(() => (statuses(client).length >= 3 ? true : undefined), { what: "the other statuses" });
  await publish("four");
  await client.until(() => (statuses(client).includes("four") ? true : undefined), {
    what: "the last status",
  });
  expect(statuses(client)).toEqual(["one", "two", "three", "four"]);
  expect(client.closedWith).toBeUndefined();
});

it("a socket that closes while its session has no home leaves no connection behind", async () => {
  const running = await start("a");
  const client = await running.connect("u1");
  const stays = await running.connect("u1");
  expect(await running.registry.ofUser("default", "u1")).toHaveLength(2);
  running.kill("a");
  await client.close();
  const b = running.startFanout("b");
  await waitFor(() => b.sessions === 1, { what: "the session at its next home" });
  const connectionId = (await stays.welcome()).connectionId;
  await waitFor(
    async () => {
      const left = await running.registry.ofUser("default", "u1");
      return left.length === 1 && left[0]?.connectionId === connectionId;
    },
    { what: "the closed connection to be forgotten" },
  );
});
