/** What apps see when no fanout is left, and when their edge goes: sockets stay, or are told where to go on. */
import { get, type IncomingHttpHeaders } from "node:http";
import { afterEach, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { Traffic } from "./traffic.js";

let cluster: Cluster | undefined;
let traffic: Traffic | undefined;

afterEach(async () => {
  traffic?.stop();
  traffic = undefined;
  await cluster?.stop();
  cluster = undefined;
});

/** What a new socket is answered with, as HTTP. */
async function handshake(running: Cluster, edge: number) {
  const headers = {
    authorization: `Bearer ${await running.token("newcomer", "customer")}`,
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
    "sec-websocket-protocol": "realtime.v1.json",
  };
  const url = running.socketUrl(edge).replace("ws:", "http:");
  return new Promise<{ status: number; headers: IncomingHttpHeaders }>((resolve, reject) => {
    const request = get(url, { headers, agent: false, timeout: 5000 });
    request.on("response", (response) => {
      response.resume();
      resolve({ status: response.statusCode ?? 0, headers: response.headers });
    });
    request.on("upgrade", (response, socket) => {
      socket.destroy();
      resolve({ status: response.statusCode ?? 0, headers: response.headers });
    });
    request.on("error", reject);
  });
}

it("without any fanout sockets stay open and new ones are told when to come; then everything flows again", async () => {
  const running = (cluster = await Cluster.start());
  traffic = await Traffic.start(running, { orders: 3 });
  await running.fanouts[0]?.kill();
  await traffic.untilItFlows(5000);
  await running.fanouts[1]?.kill();
  for (const edge of [0, 1]) {
    const refused = await waitFor(
      async () => {
        const answer = await handshake(running, edge);
        return answer.status === 503 && answer;
      },
      { what: `503 for new sockets at edge ${edge}` },
    );
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
  }
  for (const client of traffic.clients) expect(client.closedWith).toBeUndefined();

  await running.startFanout(1);
  await traffic.untilItFlows(5000);
  await waitFor(async () => (await handshake(running, 0)).status === 101, {
    what: "new sockets are welcome",
  });
  await traffic.stopAndCheck();
});

it("an edge that ends is not ready, tells its sockets to reconnect, closes them with 4000, and exits 0", async () => {
  const running = (cluster = await Cluster.start({ fanouts: 1 }));
  const [edge] = running.edges;
  if (edge === undefined) throw new Error("there is no edge");
  const leaving = await Promise.all(
    Array.from({ length: 10 }, (_, index) => running.connect(0, `leaving-${index}`, "customer")),
  );
  const staying = await running.connect(1, "staying", "customer");

  const ended = edge.stop(12_000);
  await waitFor(async () => (await fetch(edge.url("PORT", "/ready"))).status === 503, { what: "not ready" });
  expect((await handshake(running, 0)).status).toBe(503);
  const closed = await Promise.all(leaving.map((client) => client.closed));
  expect(closed.map(({ code }) => code)).toEqual(leaving.map(() => CloseCode.DRAINING));
  for (const client of leaving) expect(client.frames.at(-1)?.body?.$case).toBe("reconnect");
  expect(await ended).toEqual({ code: 0, signal: null });

  const again = await running.connect(1, "leaving-0", "customer");
  expect(again.closedWith).toBeUndefined();
  expect(staying.closedWith).toBeUndefined();
});
