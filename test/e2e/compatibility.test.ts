/**
 * Old and new together, as in a rolling deploy: an edge of the link's first version with real fanouts of
 * today, and a real edge of today with fanouts of the first version. The old ends are made of the pinned
 * contracts in `test/compatibility`.
 */
import { randomUUID } from "node:crypto";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { signToken } from "#services/token/sign-token.js";
import { inField, unknownItem, withUnknownField } from "#test/compatibility/later-release.js";
import { OldEdge, type OldEdgeOptions } from "#test/compatibility/old-edge.js";
import { OldFanout, type OldFanoutOptions } from "#test/compatibility/old-fanout.js";
import { ServerFrame } from "#test/compatibility/link-v1/gen/realtime/client/v1/server_frame.js";
import { CloseSession, Deliver, Framing } from "#test/compatibility/link-v1/gen/realtime/link/v1/link.js";
import { AppClient } from "#test/support/app-client.js";
import { startService, type RunningService } from "#test/support/process.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Numbers of the fields that hold these in their messages. */
const ITEMS = 1;
const EDGE_ITEM_CLOSE = 4;
const FANOUT_ITEM_DELIVER = 3;

describe("an edge of the first version with a fanout of today", () => {
  let cluster: Cluster;

  beforeAll(async () => {
    cluster = await Cluster.start({ edges: 0, fanouts: 2 });
  });

  afterAll(async () => {
    await cluster.stop();
  });

  function connect(fanout: number, options: Partial<OldEdgeOptions> = {}): OldEdge {
    const service = serviceOf(fanout);
    const address = `127.0.0.1:${service.port("LINK_PORT")}`;
    const edge = new OldEdge({ address, token: service.env["LINK_TOKEN"], ...options });
    cleanups.push(() => edge.close());
    return edge;
  }

  function serviceOf(fanout: number): RunningService {
    const service = cluster.fanouts[fanout];
    if (service === undefined) throw new Error(`there is no fanout ${fanout}`);
    return service;
  }

  const user = (userId: string, role = "customer") => ({ app: cluster.app, userId, role });
  const location = (latitude: number) => ({
    $case: "locationUpdate" as const,
    value: { latitude, longitude: 2, timestampMs: 0, orderId: "" },
  });

  /** The statuses that reached a session: by its group, or by itself where it had missed them. */
  function statusesAt(edge: OldEdge): (string | undefined)[] {
    const frames = edge.items.flatMap((item) => {
      if (item.$case === "deliver") return [ServerFrame.decode(item.value.protobuf)];
      return item.$case === "frame" ? [ServerFrame.decode(item.value.payload)] : [];
    });
    const events = frames.flatMap(({ body }) => (body?.$case === "event" ? [body.value] : []));
    return events.flatMap(({ body }) => (body?.$case === "orderStatus" ? [body.value.status] : []));
  }

  async function publish(channel: string, status: string): Promise<void> {
    const event = { order_status: { order_id: channel.slice("order:".length), status } };
    await cluster.api().publish([{ app: cluster.app, channel, event }]);
  }

  it("opens sessions, subscribes, delivers durable and latest events, and acknowledges", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    await cluster.grant(orderId, { customer: "OWNER", porter: "ASSIGNED" });
    const edge = connect(0);
    expect(await edge.item("hello")).toMatchObject({ protocol: 1, fanoutId: "fanout-0" });
    expect((await edge.item("status")).dependencies.map(({ name, up }) => [name, up])).toEqual([
      ["redis", true],
      ["kafka", true],
    ]);
    edge.openSession(1, user("customer"));
    edge.openSession(2, user("porter", "porter"));
    edge.openSession(3, user("stranger"));
    expect(await edge.frameTo(1, "welcome")).toMatchObject({ userId: "customer", role: "customer" });
    await edge.item("state", ({ session }) => session === 1);

    const asked = edge.sendFrame(1, { $case: "subscribe", value: { channel, after: undefined } }, 7);
    expect(await edge.frameTo(1, "subscribed", (each) => each.channel === channel)).toMatchObject({
      channel,
    });
    const { group } = await edge.item("join", (each) => each.session === 1 && each.channel === channel);
    await edge.item("acknowledge", ({ sessions, upSequences }) =>
      sessions.some((session, index) => session === 1 && upSequences[index] === asked),
    );
    edge.sendFrame(3, { $case: "subscribe", value: { channel, after: undefined } }, 8);
    expect(await edge.frameTo(3, "error")).toMatchObject({ code: 2 });

    await publish(channel, "picked_up");
    const durable = await edge.item("deliver", (each) => each.group === group && each.position !== undefined);
    expect(durable.position).toMatchObject({ offset: 1 });
    expect(statusesAt(edge)).toEqual(["picked_up"]);
    edge.sendFrame(2, location(51.5));
    const latest = await edge.item("deliver", (each) => each.group === group && each.version > 0);
    const { body } = ServerFrame.decode(latest.protobuf);
    expect(body).toMatchObject({
      $case: "event",
      value: { channel, body: { $case: "location", value: { workerId: "porter", latitude: 51.5 } } },
    });
  });

  it("takes a session from one fanout to the next with its state and positions, and nothing is lost or repeated", async () => {
    const orderId = randomUUID();
    const channel = `order:${orderId}`;
    await cluster.grant(orderId, { mover: "OWNER" });
    const from = connect(0);
    from.openSession(1, user("mover"));
    await from.frameTo(1, "welcome");
    const subscribing = from.sendFrame(1, { $case: "subscribe", value: { channel, after: undefined } });
    await from.item("join", (each) => each.channel === channel);
    await publish(channel, "first");
    const { position } = await from.item("deliver", (each) => each.position !== undefined);
    if (position === undefined) throw new Error("a durable event without a position");
    from.send({ $case: "release", value: { session: 1 } });
    const { state } = await from.item("released", ({ session }) => session === 1);
    expect(state.length).toBeGreaterThan(0);
    await publish(channel, "missed");

    const to = connect(1);
    to.openSession(1, user("mover"), {
      state,
      positions: { [channel]: position },
      nextUpSequence: subscribing + 1,
    });
    await to.item("join", (each) => each.channel === channel);
    await publish(channel, "live");
    await waitFor(() => statusesAt(to).includes("live"), { what: "the live status" });
    expect(statusesAt(to)).toEqual(["missed", "live"]);
    expect(to.framesTo(1).map(({ $case }) => $case)).not.toContain("welcome");
    expect(statusesAt(from)).toEqual(["first"]);
  });

  it("gives JSON frames to sessions in JSON framing", async () => {
    const edge = connect(0);
    edge.openSession(1, user("reader"), { framing: Framing.FRAMING_JSON });
    const { payload } = await edge.item("frame");
    expect(JSON.parse(Buffer.from(payload).toString())).toMatchObject({ welcome: { userId: "reader" } });
  });

  it("may send items and fields that today does not know: they are ignored", async () => {
    const edge = connect(0);
    await edge.item("hello");
    edge.sendBytes(unknownItem());
    edge.openSession(1, user("early"));
    edge.openSession(2, user("gone"));
    await edge.frameTo(2, "welcome");
    const close = CloseSession.encode({ session: 2, reason: "client" }).finish();
    edge.sendBytes(inField(ITEMS, inField(EDGE_ITEM_CLOSE, withUnknownField(close))));
    edge.sendFrame(2, { $case: "ping", value: { clientTimeMs: 0 } }, 5);
    edge.sendFrame(1, { $case: "ping", value: { clientTimeMs: 0 } }, 6);
    await edge.frameTo(1, "pong");
    expect(edge.framesTo(2).map(({ $case }) => $case)).not.toContain("pong");
    expect(edge.ended).toBeUndefined();
  });

  it("is refused where no version is common, and the fanout says which ones there are", async () => {
    const edge = connect(0, { protocol: { min: 98, max: 99 } });
    const ended = await waitFor(() => edge.ended, { what: "the end of the link" });
    expect(ended).toMatchObject({ code: 9, details: "no common link protocol" });
    expect(edge.items).toEqual([]);
    expect(serviceOf(0).logs()).toContainEqual(
      expect.objectContaining({
        level: "error",
        message: "no common link protocol",
        edge: "old-edge",
        theirs: { min: 98, max: 99 },
        ours: { min: 1, max: 1 },
      }),
    );
  });

  it("is accepted where its range reaches beyond today's: the highest common version is chosen", async () => {
    const edge = connect(0, { protocol: { min: 1, max: 99 } });
    expect((await edge.item("hello")).protocol).toBe(1);
  });
});

describe("an edge of today with fanouts of the first version", () => {
  const SECRET = "the-secret-of-the-compatibility-tests";
  const CHANNEL = "order:42";

  async function oldFanout(options: OldFanoutOptions): Promise<OldFanout> {
    const fanout = await OldFanout.start(options);
    cleanups.push(() => fanout.kill());
    return fanout;
  }

  async function edgeOf(
    fanouts: readonly OldFanout[],
    waitUntil: "ready" | "listening" = "ready",
  ): Promise<RunningService> {
    const addresses = fanouts.map(({ address }) => address).join(",");
    const env = { HOST: "127.0.0.1", JWT_SOCKET_SECRET: SECRET, FANOUT_ADDRS: addresses };
    const edge = await startService("edge", { env, waitUntil });
    cleanups.push(() => edge.kill());
    return edge;
  }

  async function connect(edge: RunningService, userId = "u1"): Promise<AppClient> {
    const token = await signToken(
      { sub: userId, role: "customer", ttlSeconds: 600 },
      { ...DEFAULT_JWT_OPTIONS, secret: SECRET },
    );
    const url = `ws://127.0.0.1:${edge.port("PORT")}/ws`;
    const app = await AppClient.connect({ url, token, framing: "protobuf" });
    cleanups.push(() => app.websocket.terminate());
    return app;
  }

  const statusesAt = (app: AppClient) =>
    app.eventsOf(CHANNEL).flatMap(({ body }) => (body?.$case === "orderStatus" ? [body.value.status] : []));

  async function untilStatus(app: AppClient, status: string): Promise<void> {
    await app.until(() => (statusesAt(app).includes(status) ? true : undefined), { what: `"${status}"` });
  }

  it("opens sessions, subscribes, delivers, and forgets what was acknowledged", async () => {
    const fanout = await oldFanout({ fanoutId: "old-0" });
    const edge = await edgeOf([fanout]);
    expect(fanout.itemsOf("hello")[0]?.protocol?.min).toBe(1);
    const app = await connect(edge);
    expect(await app.welcome()).toMatchObject({ userId: "u1", role: "customer", serverId: "old" });
    await app.subscribe(CHANNEL);
    fanout.publishStatus(CHANNEL, "picked_up", { epoch: "e1", offset: 1, tag: 1 });
    await untilStatus(app, "picked_up");
    // More than the edge lets wait without an answer: it must have heard the acknowledgements.
    for (let index = 0; index < 100; index += 1) {
      expect((await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).$case).toBe("pong");
    }
    await app.close();
    await waitFor(() => fanout.sessions.size === 0, { what: "the session to be closed" });
  });

  it.each(["drains", "dies"])(
    "takes its sessions to the next one with state, positions and unanswered frames when one %s",
    async (how) => {
      const fanouts = [await oldFanout({ fanoutId: "old-0" }), await oldFanout({ fanoutId: "old-1" })];
      const edge = await edgeOf(fanouts);
      const metrics = async () => (await fetch(edge.url("METRICS_PORT", "/metrics"))).text();
      await waitFor(async () => (await metrics()).includes("\nrealtime_edge_ready_links 2\n"), {
        what: "both links",
      });
      const app = await connect(edge);
      await app.subscribe(CHANNEL);
      const home = fanouts.find(({ sessions }) => sessions.size === 1);
      const next = fanouts.find((fanout) => fanout !== home);
      if (home === undefined || next === undefined) throw new Error("the session has no home");
      const position = { epoch: "e1", offset: 1, tag: 1 };
      home.publishStatus(CHANNEL, "at home", position);
      await untilStatus(app, "at home");
      app.send({ $case: "custom", value: { type: "unanswered", channel: "", data: undefined } });
      await waitFor(() => home.frames.some(({ body }) => body?.$case === "custom"), { what: "the frame" });

      if (how === "drains") home.drain();
      else home.kill();

      const [session, open] = await waitFor(() => [...next.sessions][0], { what: "the session's move" });
      expect(Buffer.from(open.state).toString()).toMatch(/^state of session \d+ from old-[01]$/);
      expect(open.positions).toEqual({ [CHANNEL]: position });
      await waitFor(() => next.frames.some(({ body }) => body?.$case === "custom"), {
        what: "the unanswered frame",
      });
      next.join(session, CHANNEL, position);
      next.publishStatus(CHANNEL, "at the next home", { epoch: "e1", offset: 2, tag: 2 });
      await untilStatus(app, "at the next home");
      expect(statusesAt(app)).toEqual(["at home", "at the next home"]);
      expect(app.closedWith).toBeUndefined();
      expect(app.frames.filter(({ body }) => body?.$case === "welcome")).toHaveLength(1);
    },
  );

  it("gets items and fields that it does not know, and ignores them", async () => {
    const fanout = await oldFanout({ fanoutId: "old-0" });
    const app = await connect(await edgeOf([fanout]));
    await app.subscribe(CHANNEL);
    fanout.sendBytes(unknownItem());
    const delivery = fanout.delivery(CHANNEL, "of a later release", { epoch: "e1", offset: 1, tag: 1 });
    const deliver = withUnknownField(Deliver.encode(delivery).finish());
    fanout.sendBytes(inField(ITEMS, inField(FANOUT_ITEM_DELIVER, deliver)));
    await untilStatus(app, "of a later release");
    expect((await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).$case).toBe("pong");
  });

  it.each<[string, Partial<OldFanoutOptions>, string]>([
    [
      "chooses a version that this edge does not speak",
      { protocol: 99 },
      "the fanout chose 99, this edge speaks 1 to 1",
    ],
    ["refuses the edge's versions", { refuses: true }, "no common link protocol"],
  ])("has no link to one that %s, and says so", async (_, options, reason) => {
    const fanout = await oldFanout({ fanoutId: "old-0", ...options });
    const edge = await edgeOf([fanout], "listening");
    const told = await waitFor(
      () => edge.logs().find(({ message }) => message === "no link to this fanout; trying again"),
      { what: "the edge to say that it has no link" },
    );
    expect(told).toMatchObject({ level: "warn", address: fanout.address });
    expect(JSON.stringify(told["end"])).toContain(reason);
    expect((await fetch(edge.url("PORT", "/ready"))).status).toBe(503);
    expect(fanout.sessions.size).toBe(0);
  });
});
