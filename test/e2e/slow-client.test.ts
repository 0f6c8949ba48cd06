import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import type { RunningService } from "#test/support/process.js";
import { RawOpcode, RawSocket } from "#test/support/raw-socket.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { LocationLoad, MeasuringFollower } from "./location-load.js";
import { Witness } from "./witness.js";

const KIB = 1024;
const MIB = 1024 * KIB;
const PORTERS = 40;
const PER_SECOND = 2000;
const WINDOW_MS = 1000;
const CONFLATE_BYTES = 64 * KIB;
/** `LONG_TESTS=1`: the time that the issue asks for. */
const isLong = process.env["LONG_TESTS"] === "1";
const SLOW_MS = isLong ? 30_000 : 4000;
const BEFORE_MS = isLong ? 10_000 : 2000;
/** Noise of a shared machine: below it latencies do not compare. */
const FLOOR_MS = 20;
const ATTEMPTS = 3;

let cluster: Cluster;
const sockets: RawSocket[] = [];

beforeAll(async () => {
  cluster = await Cluster.start({ edges: 1, fanouts: 1 });
});

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await waitFor(async () => (await queuedBytes(0)) === 0, {
    what: "the queues to be gone",
    timeoutMs: 10_000,
  });
});

afterAll(async () => {
  await cluster.stop();
});

function edgeAt(index: number): RunningService {
  const edge = cluster.edges[index];
  if (edge === undefined) throw new Error(`no edge ${index}`);
  return edge;
}

/** Follows a channel and reads no further from then on. */
async function stalledFollower(edge: number, user: string, channel: string): Promise<RawSocket> {
  const token = await cluster.token(user, "admin");
  const socket = await RawSocket.open(edgeAt(edge).port("PORT"), { token });
  sockets.push(socket);
  const body = { $case: "subscribe" as const, value: { channel, after: undefined } };
  const frame = ClientFrame.encode({ ...ClientFrame.fromPartial({ id: 1 }), body }).finish();
  socket.send(RawOpcode.BINARY, Buffer.from(frame));
  await waitFor(() => serverFrames(socket).some(({ replyTo }) => replyTo === 1), { what: "subscribed" });
  socket.stopReading();
  return socket;
}

function serverFrames(socket: RawSocket): ServerFrame[] {
  const binary = socket.frames().filter(({ opcode }) => opcode === RawOpcode.BINARY);
  return binary.map(({ payload }) => ServerFrame.decode(new Uint8Array(payload)));
}

async function metric(edge: number, name: string, label = ""): Promise<number> {
  const text = await (await fetch(edgeAt(edge).url("METRICS_PORT", "/metrics"))).text();
  const line = text.split("\n").find((each) => each.startsWith(`realtime_${name}${label} `));
  return Number(line?.split(" ").at(-1) ?? 0);
}

const queuedBytes = (edge: number): Promise<number> => metric(edge, "edge_queued_bytes");
const closedAsSlow = (edge: number): Promise<number> =>
  metric(edge, "connections_closed_total", '{reason="slow"}');

/** The median over windows of the followers' 99th percentile; windows are as many as fit. */
async function medianP99Ms(
  followers: readonly MeasuringFollower[],
  durationMs: number,
  watch: () => Promise<unknown> = async () => undefined,
): Promise<number> {
  for (const follower of followers) follower.takeP99Ms();
  const p99s: number[] = [];
  for (let elapsedMs = 0; elapsedMs < durationMs; elapsedMs += WINDOW_MS) {
    await Promise.all([sleep(WINDOW_MS), watch()]);
    for (const follower of followers) {
      const p99 = follower.takeP99Ms();
      if (p99 === undefined) throw new Error(`a follower got nothing for ${WINDOW_MS} ms`);
      p99s.push(p99);
    }
  }
  p99s.sort((left, right) => left - right);
  return p99s[Math.floor(p99s.length / 2)] ?? Number.NaN;
}

/** Publishes a durable event of so many bytes. */
async function publish(channel: string, bytes: number): Promise<void> {
  const notification = { notification_id: randomUUID(), type: "t", title: "", message: "m".repeat(bytes) };
  const api = cluster.api();
  const { response } = await api.publish([{ app: cluster.app, channel, event: { notification } }]);
  const [result] = response["results"] as readonly { error: unknown }[];
  expect(result?.error ?? null).toBeNull();
}

describe("a client that stops reading", () => {
  it(
    `while its order gets ${PER_SECOND} locations a second costs itself, not others`,
    { timeout: 240_000 },
    async () => {
      const orderId = randomUUID();
      const channel = `order:${orderId}`;
      const names = Array.from({ length: PORTERS }, (_, index) => `porter-${index}`);
      await cluster.grant(orderId, Object.fromEntries(names.map((name) => [name, "ASSIGNED"] as const)));
      const porters = await Promise.all(
        names.map((name) => cluster.connect(0, name, "porter", { framing: "protobuf" })),
      );
      const followers = await Promise.all(
        ["f1", "f2", "f3"].map(async (name) =>
          MeasuringFollower.follow({
            url: cluster.socketUrl(0),
            token: await cluster.token(name, "admin"),
            channel,
          }),
        ),
      );
      const load = new LocationLoad(porters, PER_SECOND);
      // The first seconds are those of compilers and caches.
      await medianP99Ms(followers, 3000);
      let mostQueuedBytes = 0;
      const watch = async (): Promise<number> => {
        const queued = await queuedBytes(0);
        mostQueuedBytes = Math.max(mostQueuedBytes, queued);
        return queued;
      };
      /** The followers' latency, then a client that does not read, then their latency again. */
      const compare = async () => {
        const beforeMs = await medianP99Ms(followers, BEFORE_MS);
        const slow = await stalledFollower(0, "slow", channel);
        let fullSamples = 0;
        await waitFor(
          async () => {
            // Others are behind for a moment too, in a burst; only who does not read stays behind.
            fullSamples = (await watch()) >= CONFLATE_BYTES ? fullSamples + 1 : 0;
            return fullSamples >= 4;
          },
          { what: "the kernel to be full and the edge to queue", timeoutMs: 30_000, pollMs: 300 },
        );
        const conflatedBefore = await metric(0, "edge_frames_conflated_total");
        const duringMs = await medianP99Ms(followers, SLOW_MS, watch);
        const conflated = (await metric(0, "edge_frames_conflated_total")) - conflatedBefore;
        return { slow, conflated, beforeMs, duringMs };
      };
      const isUndisturbed = ({ beforeMs, duringMs }: { beforeMs: number; duringMs: number }): boolean =>
        duringMs < Math.max(2 * beforeMs, FLOOR_MS);
      let compared = await compare();
      // Whoever else uses this machine may begin in between; what the slow client did would come again.
      for (let attempt = 1; attempt < ATTEMPTS && !isUndisturbed(compared); attempt += 1) {
        compared.slow.destroy();
        compared = await compare();
      }
      const { slow, conflated, beforeMs, duringMs } = compared;
      const receivedBefore = followers.map(({ received }) => received);
      await load.stop();
      const newest = await waitFor(
        () => {
          const [first] = followers;
          return first !== undefined && Math.max(...first.newest.values()) === load.sent
            ? first.newest
            : undefined;
        },
        { what: "the last location at the others", timeoutMs: 20_000 },
      );

      expect(conflated).toBeGreaterThan((PER_SECOND * SLOW_MS) / 2000);
      expect(mostQueuedBytes).toBeLessThanOrEqual(MIB);
      expect({ beforeMs, duringMs }).toSatisfy(isUndisturbed);
      for (const received of receivedBefore) expect(received).toBeGreaterThan((PER_SECOND * SLOW_MS) / 2000);

      // It is still there, as it was not beyond the bound: it reads again, and gets the newest of everybody.
      expect(await closedAsSlow(0)).toBe(0);
      slow.readOn();
      const seen = await waitFor(
        () => {
          const seen = locationsByPorter(slow);
          const isAll = [...newest].every(([porter, number]) => seen.get(porter)?.at(-1) === number);
          return isAll ? seen : undefined;
        },
        { what: "the newest location of every porter", timeoutMs: 20_000, pollMs: 200 },
      );
      for (const numbers of seen.values()) {
        expect(numbers).toEqual([...numbers].sort((left, right) => left - right));
      }
      const gotten = [...seen.values()].reduce((sum, numbers) => sum + numbers.length, 0);
      expect(gotten).toBeLessThan(followers[0]?.received ?? 0);
      for (const follower of followers) follower.close();
    },
  );

  it(
    "is closed as slow where it misses what must not be lost, and others are not",
    { timeout: 90_000 },
    async () => {
      const witness = await Witness.start(cluster, { follower: 0, porter: 0 });
      const channel = `order:${randomUUID()}`;
      const slow = await stalledFollower(0, "slower", channel);
      const before = await closedAsSlow(0);
      let published = 0;
      while ((await closedAsSlow(0)) === before) {
        expect(await queuedBytes(0)).toBeLessThanOrEqual(MIB);
        await publish(channel, 48 * KIB);
        published += 1;
        if (published > 1000) throw new Error("1000 events and not closed");
      }
      slow.readOn();
      await slow.untilClosed();
      const offsets = serverFrames(slow).flatMap(({ body }) =>
        body?.$case === "event" && body.value.channel === channel ? [body.value.position?.offset ?? 0] : [],
      );
      // What it has of the channel is without a gap; what it has not, it asks for when it reconnects.
      expect(offsets).toEqual(Array.from({ length: offsets.length }, (_, index) => index + 1));
      expect(offsets.length).toBeGreaterThan(0);
      expect([CloseCode.SLOW, undefined]).toContain(slow.closeCode());
      await witness.check();
      await witness.stop();
    },
  );

  it("and reads in time is told by the close code", { timeout: 60_000 }, async () => {
    const channel = `order:${randomUUID()}`;
    const slow = await stalledFollower(0, "slowest", channel);
    await fillUntil(channel, { edge: 0 }, (queued) => queued > 500 * KIB);
    await Promise.all(Array.from({ length: 20 }, () => publish(channel, 48 * KIB)));
    // It is given up, but its socket is not cut yet: the close frame waits behind the rest.
    await waitFor(async () => (await queuedBytes(0)) === 0, { what: "the socket to be given up" });
    slow.readOn();
    expect(await slow.untilCloseCode()).toBe(CloseCode.SLOW);
  });
});

describe("an edge whose queues are too much together", () => {
  it("closes the largest first, and leaves the others", { timeout: 120_000 }, async () => {
    await cluster.startEdge(1, { EDGE_QUEUE_BYTES: "1MiB", SLOW_CLOSE_BYTES: "1MiB" });
    const [large, small] = [`order:${randomUUID()}`, `order:${randomUUID()}`];
    const largest = await stalledFollower(1, "large", large);
    const smaller = await stalledFollower(1, "small", small);
    await fillUntil(small, { edge: 1 }, (queued) => queued > 0);
    await fillUntil(large, { edge: 1 }, (queued) => queued > 850 * KIB);
    expect(await closedAsSlow(1)).toBe(0);
    // More for the smaller one, until all of it together is too much: then the largest queue is gone.
    // Not one event more: before the edge looks at its queues the smaller one could become the largest.
    await fillUntil(small, { edge: 1 }, (queued) => queued > MIB || queued < 700 * KIB);
    await waitFor(async () => (await queuedBytes(1)) < 700 * KIB, { what: "the largest queue to be gone" });
    smaller.readOn();
    await publish(small, 1);
    await waitFor(() => notificationsOf(smaller).some(({ message }) => message.length === 1), {
      what: "what was published to the smaller one last",
      timeoutMs: 20_000,
      pollMs: 200,
    });
    expect(smaller.isClosed).toBe(false);
    largest.readOn();
    await largest.untilClosed();
    await waitFor(async () => (await closedAsSlow(1)) === 1, { what: "one socket to be closed" });
  });
});

/** Publishes one by one until what the edge has queued is as wanted. */
async function fillUntil(
  channel: string,
  { edge }: { edge: number },
  isEnough: (queuedBytes: number) => boolean,
): Promise<void> {
  for (let published = 0; published < 1000; published += 1) {
    await publish(channel, 24 * KIB);
    if (isEnough(await queuedBytes(edge))) return;
  }
  throw new Error("1000 events were not enough");
}

function notificationsOf(socket: RawSocket) {
  return serverFrames(socket).flatMap(({ body }) =>
    body?.$case === "event" && body.value.body?.$case === "notification" ? [body.value.body.value] : [],
  );
}

/** The numbers of the locations that came, by porter. */
function locationsByPorter(socket: RawSocket): Map<string, number[]> {
  const byPorter = new Map<string, number[]>();
  for (const { body } of serverFrames(socket)) {
    if (body?.$case !== "event" || body.value.body?.$case !== "location") continue;
    const { workerId, accuracy = 0 } = body.value.body.value;
    const numbers = byPorter.get(workerId) ?? [];
    numbers.push(accuracy);
    byPorter.set(workerId, numbers);
  }
  return byPorter;
}
