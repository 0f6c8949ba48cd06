/**
 * Sessions that go on on another connection, in one process: real edges, sockets and fanouts on shared memory
 * stores. What each part promises is tested beside it; this is that they mean the same.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { SignJWT } from "jose";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { OriginList } from "#edge/admission/origin.js";
import { DEFAULT_JWT_OPTIONS, JwtVerifier } from "#edge/auth/jwt-verifier.js";
import { Edge } from "#edge/edge.js";
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import { CloseCode } from "#proto/close-codes.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import { loopbackLink } from "#proto/link/loopback-link-stream.js";
import { AppClient, type AppFraming } from "#test/support/app-client.js";
import { FanoutCore, order, SILENT } from "#test/support/fanout-core.js";
import { waitFor } from "#test/support/wait-for.js";

const SECRET = "a-secret-of-at-least-thirty-two-bytes";
const channel = order("42");
let core: FanoutCore;
const edges: { readonly edge: Edge; readonly server: Server; readonly url: string }[] = [];
const clients: AppClient[] = [];

async function startEdge(edgeId: string) {
  const edge = new Edge({
    edgeId,
    version: "test",
    discovery: fanoutDiscovery("a"),
    connect: () => {
      const [ours, theirs] = loopbackLink();
      core.fanout.acceptLink(theirs);
      return ours;
    },
    verifier: await JwtVerifier.create({ ...DEFAULT_JWT_OPTIONS, socketSecret: SECRET }),
    origins: new OriginList(["*"]),
    admission: {},
    maxPayloadBytes: 65_536,
    maxFragments: 128,
    firstFrameDeadlineMs: 10_000,
    heartbeatIntervalMs: 200,
    maxConnectionLifetimeMs: 0,
    slow: { conflateBytes: 65_536, closeBytes: 1_048_576 },
    maxQueuedBytes: 268_435_456,
    trustedProxies: 0,
    trustUserType: false,
    logger: SILENT,
  });
  edge.start();
  const server = createServer();
  server.on("upgrade", (request, socket, head) => edge.upgrade(request, socket, head));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  edges.push({ edge, server, url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws` });
}

beforeEach(async () => {
  core = new FanoutCore();
  await core.grant(channel, "owner");
  await startEdge("edge-0");
  await startEdge("edge-1");
});

afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
  for (const { edge, server } of edges.splice(0)) {
    edge.stop();
    server.close();
  }
  await core.stop();
});

async function connect(edge: number, options: { framing: AppFraming; resume?: boolean }): Promise<AppClient> {
  const token = await new SignJWT({ role: "customer" })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject("owner")
    .setExpirationTime("1h")
    .sign(Buffer.from(SECRET));
  const url = edges[edge]?.url ?? "";
  const client = await waitFor(() => AppClient.open({ url, token, ...options }), { what: "a socket" });
  clients.push(client);
  return client;
}

/** Comes back at the second edge. */
async function resume(
  resumeToken: string,
  framing: AppFraming,
  positions: Record<string, Position> = {},
): Promise<AppClient> {
  const client = await connect(1, { framing, resume: true });
  client.send({ $case: "resume", value: { resumeToken, positions } });
  expect(await client.welcome()).toMatchObject({ resumed: true, serverId: "edge-1" });
  return client;
}

const offsets = (client: AppClient): (number | undefined)[] =>
  client.eventsOf("order:42").map(({ position }) => position?.offset);

async function untilOffset(client: AppClient, offset: number): Promise<void> {
  await client.until(() => (offsets(client).at(-1) === offset ? true : undefined), {
    what: `event ${offset}`,
  });
}

it.each<AppFraming>(["json", "protobuf"])(
  "a client that gives its position gets each event once, and its old socket is closed (%s)",
  async (framing) => {
    const first = await connect(0, { framing });
    const { resumeToken, sessionId } = await first.welcome();
    await first.subscribe("order:42");
    for (let index = 0; index < 3; index += 1) await core.publish(channel);
    await untilOffset(first, 3);
    const position = first.events.at(-1)?.position;
    if (position === undefined) throw new Error("no position");
    const second = await resume(resumeToken, framing, { "order:42": { ...position } });
    expect((await second.welcome()).sessionId).toBe(sessionId);
    expect(await first.closed).toMatchObject({ code: CloseCode.REPLACED });
    await core.publish(channel);
    await untilOffset(second, 4);
    expect(offsets(second)).toEqual([4]);
  },
);

it("a client whose channels are quiet is known to have its token by a heartbeat", async () => {
  const saved = vi.spyOn(core.resumables, "save");
  const first = await connect(0, { framing: "json" });
  const { resumeToken } = await first.welcome();
  const second = await resume(resumeToken, "json");
  await waitFor(
    () => saved.mock.calls.some(([save]) => save.generation === 2 && save.isGenerationConfirmed),
    { what: "the heartbeat to confirm the token" },
  );
  expect(second.events).toEqual([]);
});

it("a client without positions gets again what no heartbeat has confirmed, and nothing else", async () => {
  const saved = vi.spyOn(core.resumables, "save");
  const first = await connect(0, { framing: "json" });
  const { resumeToken } = await first.welcome();
  await first.subscribe("order:42");
  for (let index = 0; index < 3; index += 1) await core.publish(channel);
  await waitFor(() => saved.mock.calls.some(([{ cursors }]) => offsetOf(cursors.get("order:42")) === 3), {
    what: "the heartbeat to confirm what was given",
  });
  // From here on it reads nothing and answers no ping.
  first.websocket.pause();
  await core.publish(channel);
  await core.publish(channel);
  first.websocket.terminate();
  const second = await resume(resumeToken, "json");
  await untilOffset(second, 5);
  expect(offsets(second)).toEqual([4, 5]);
  const said = second.frames.flatMap(({ body }) =>
    body?.$case === "subscribed" && body.value.channel === "order:42" ? [body.value] : [],
  );
  expect(said).toMatchObject([{ recovered: true, position: { offset: 3 } }]);
});

function offsetOf(cursor: unknown): number | undefined {
  return typeof cursor === "object" && cursor !== null && "offset" in cursor
    ? Number(cursor.offset)
    : undefined;
}
