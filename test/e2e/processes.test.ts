/** How the processes end: by SIGTERM, during the start, and by an error that nobody caught. */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { startService, type RunningService } from "#test/support/process.js";
import { waitFor, within } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function startCluster(options: Parameters<typeof Cluster.start>[0]): Promise<Cluster> {
  const cluster = await Cluster.start(options);
  cleanups.push(() => cluster.stop());
  return cluster;
}

describe("an end by SIGTERM", () => {
  it("of a fanout takes less than 10 s, and its sockets live on at the other one", async () => {
    const cluster = await startCluster({ edges: 1, fanouts: 2 });
    const users = Array.from({ length: 20 }, (_, index) => `u${index}`);
    const apps = await Promise.all(users.map((user) => cluster.connect(0, user, "customer")));
    const [ending] = cluster.fanouts;
    const startedAt = performance.now();
    expect(await ending?.stop(10_000)).toEqual({ code: 0, signal: null });
    expect(performance.now() - startedAt).toBeLessThan(10_000);
    expect(ending?.logs()).toContainEqual(
      expect.objectContaining({ message: "the process has shut down", exitCode: 0 }),
    );
    for (const app of apps) {
      expect(await app.request({ $case: "ping", value: { clientTimeMs: 0 } })).toMatchObject({
        $case: "pong",
      });
      expect(app.closedWith).toBeUndefined();
    }
  });

  it("of an edge tells every socket to reconnect, is not ready meanwhile, and ends within its window and 10 s", async () => {
    const cluster = await startCluster({ edges: 1, fanouts: 1 });
    const [edge] = cluster.edges;
    if (edge === undefined) throw new Error("there is no edge");
    const apps = await Promise.all(
      (["json", "protobuf"] as const).flatMap((framing) =>
        [1, 2, 3, 4, 5].map((index) => cluster.connect(0, `${framing}-${index}`, "customer", { framing })),
      ),
    );
    // One that reads nothing more must hold up nobody.
    const stuck = await cluster.connect(0, "stuck", "customer");
    stuck.websocket.pause();
    const startedAt = performance.now();
    edge.process.signal("SIGTERM");
    await waitFor(async () => (await fetch(edge.url("PORT", "/ready"))).status === 503, {
      what: "not ready",
    });
    await expect(cluster.connect(0, "late", "customer")).rejects.toThrow("503");
    expect(await within(edge.exited, 12_000)).toEqual({ code: 0, signal: null });
    expect(performance.now() - startedAt).toBeLessThan(12_000);
    for (const app of apps) {
      expect((await app.body("reconnect")).afterMs).toBeGreaterThanOrEqual(0);
      expect((await app.closed).code).toBe(CloseCode.DRAINING);
    }
  });

  it("during the start ends a process, too", async () => {
    const fanout = await startService("fanout", { env: { HOST: "127.0.0.1" }, waitUntil: "started" });
    cleanups.push(() => fanout.kill());
    await waitFor(() => fanout.process.output.length > 0, { what: "its first line", timeoutMs: 15_000 });
    await fanout.stop(10_000);
    expect(fanout.process.exit?.code).toBe(0);
  });
});

describe("an error that nobody caught", () => {
  let cluster: Cluster;
  beforeAll(async () => {
    cluster = await Cluster.start({ edges: 1, fanouts: 1, env: { TEST_HOOKS: "true" } });
  });
  afterAll(() => cluster.stop());

  /** The only fanout: started again where a test has ended it. */
  async function theFanout(): Promise<RunningService> {
    const [edge] = cluster.edges;
    const [fanout] = cluster.fanouts;
    if (edge === undefined || fanout === undefined) throw new Error("there is no edge, or no fanout");
    if (fanout.process.exit === undefined) return fanout;
    const again = await cluster.startFanout(0);
    await waitFor(async () => (await cluster.metric(edge, "realtime_edge_ready_links")) === 1, {
      what: "a link to the fanout that was started again",
      timeoutMs: 15_000,
    });
    return again;
  }

  it.each([
    ["test.throw", "uncaughtException", "thrown on purpose by test.throw"],
    ["test.reject", "unhandledRejection", "rejected on purpose by test.reject"],
  ])("(%s) is logged, and ends a fanout in order with code 1", async (type, kind, words) => {
    const fanout = await theFanout();
    const app = await cluster.connect(0, "u1", "customer");
    app.send({ $case: "custom", value: { type, channel: "", data: undefined } });
    expect(await within(fanout.exited, 12_000)).toEqual({ code: 1, signal: null });
    const fatal = fanout.logs().filter(({ level }) => level === "fatal");
    expect(fatal).toEqual([
      expect.objectContaining({
        message: `the process ends: ${kind}`,
        error: expect.objectContaining({ message: words }) as unknown,
      }),
    ]);
    expect(fanout.logs()).toContainEqual(
      expect.objectContaining({ message: "the process has shut down", exitCode: 1 }),
    );
    expect(app.closedWith).toBeUndefined();
    // Its frame would be the next fanout's end, too.
    await app.close();
  });

  it.each([
    ["uncaughtException", "() => { throw new Error('on purpose') }"],
    ["unhandledRejection", "() => { void Promise.reject(new Error('on purpose')) }"],
  ])("(%s) is logged, and ends an edge in order with code 1", async (kind, fault) => {
    // The edge has no hook for tests: Node itself is told to break it at a signal.
    const hook = `data:text/javascript,${encodeURIComponent(`process.on("SIGUSR2", ${fault})`)}`;
    await theFanout();
    const edge = await cluster.startEdge(1, { NODE_OPTIONS: `--import=${hook}` });
    const app = await cluster.connect(1, "u1", "customer");
    edge.process.signal("SIGUSR2");
    expect((await app.closed).code).toBe(CloseCode.DRAINING);
    expect(await within(edge.exited, 12_000)).toEqual({ code: 1, signal: null });
    expect(edge.logs().filter(({ level }) => level === "fatal")).toEqual([
      expect.objectContaining({ message: `the process ends: ${kind}` }),
    ]);
  });
});
