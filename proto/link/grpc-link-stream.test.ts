import { once } from "node:events";
import { createServer, connect as connectTcp, type Socket } from "node:net";
import {
  Client,
  credentials,
  Server,
  ServerCredentials,
  status,
  type ServerDuplexStream,
} from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { waitFor } from "#test/support/wait-for.js";
import { GrpcLinkStream, LINK_CHANNEL_OPTIONS, LINK_METHOD, LINK_SERVICE } from "./grpc-link-stream.js";
import type { LinkStream } from "./link-stream.js";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function listenTo(stream: LinkStream) {
  const heard = { batches: [] as string[], bytes: 0, drained: 0, closed: [] as string[] };
  stream.listen({
    batch: (batch) => {
      heard.bytes += batch.length;
      if (batch.length < 100) heard.batches.push(Buffer.from(batch).toString());
    },
    drained: () => (heard.drained += 1),
    closed: (reason) => heard.closed.push(reason),
  });
  return heard;
}

async function pair(connectTo: (port: number) => number | Promise<number> = (port) => port) {
  const server = new Server(LINK_CHANNEL_OPTIONS);
  const calls: ServerDuplexStream<Uint8Array, Uint8Array>[] = [];
  server.addService(LINK_SERVICE, {
    connect: (call: ServerDuplexStream<Uint8Array, Uint8Array>) => calls.push(call),
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) => {
      if (error === null) resolve(bound);
      else reject(error);
    });
  });
  cleanups.push(() => server.forceShutdown());
  const client = new Client(`127.0.0.1:${await connectTo(port)}`, credentials.createInsecure(), {
    ...LINK_CHANNEL_OPTIONS,
    "grpc.use_local_subchannel_pool": 1,
  });
  cleanups.push(() => client.close());
  const { path, requestSerialize, responseDeserialize } = LINK_METHOD;
  const clientCall = client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize);
  const edge = new GrpcLinkStream(clientCall, () => clientCall.cancel());
  const atEdge = listenTo(edge);
  edge.send(Buffer.from("hello"));
  const serverCall = await waitFor(() => calls[0], { what: "the call at the server" });
  const fanout = new GrpcLinkStream(serverCall, (reason) =>
    serverCall.emit("error", { code: status.FAILED_PRECONDITION, details: reason }),
  );
  const atFanout = listenTo(fanout);
  await waitFor(() => atFanout.batches.length === 1, { what: "the hello" });
  return { edge, fanout, atEdge, atFanout, server, serverCall };
}

describe("a link over gRPC", () => {
  it("carries batches in order both ways, byte for byte", async () => {
    const { edge, fanout, atEdge, atFanout } = await pair();
    for (let index = 0; index < 100; index += 1) {
      edge.send(Buffer.from(`up ${index}`));
      fanout.send(new Uint8Array(Buffer.from(`down ${index}`)));
    }
    await waitFor(() => atFanout.batches.length === 101 && atEdge.batches.length === 100, {
      what: "batches",
    });
    expect(atFanout.batches.slice(1)).toEqual(Array.from({ length: 100 }, (_, index) => `up ${index}`));
    expect(atEdge.batches).toEqual(Array.from({ length: 100 }, (_, index) => `down ${index}`));
  });

  it("says when it is full, and when it takes more", async () => {
    const { edge, atEdge, atFanout, serverCall } = await pair();
    serverCall.pause();
    const batch = new Uint8Array(64 * 1024);
    let sent = 5;
    let isFull = false;
    while (!isFull && sent < 64 * 1024 * 1024) {
      isFull = !edge.send(batch);
      sent += batch.length;
    }
    expect(isFull).toBe(true);
    serverCall.resume();
    await waitFor(() => atEdge.drained > 0 && atFanout.bytes === sent, { what: "everything to arrive" });
  });

  it("ends at both sides when one ends it, after what was sent", async () => {
    for (const ending of ["edge", "fanout"] as const) {
      const { edge, fanout, atEdge, atFanout } = await pair();
      const [first, heardByOther] = ending === "edge" ? [edge, atFanout] : [fanout, atEdge];
      first.send(Buffer.from("last"));
      first.end();
      first.send(Buffer.from("after the end"));
      await waitFor(() => atEdge.closed.length > 0 && atFanout.closed.length > 0, { what: "both ends" });
      expect(heardByOther.batches.at(-1)).toBe("last");
      expect([atEdge.closed.length, atFanout.closed.length]).toEqual([1, 1]);
    }
  });

  it("is gone at once for who destroys it, with the reason; the other side hears of it once", async () => {
    const { edge, atEdge, atFanout } = await pair();
    edge.destroy("silent");
    expect(atEdge.closed).toEqual(["silent"]);
    edge.destroy("again");
    await waitFor(() => atFanout.closed.length > 0, { what: "the fanout's end" });
    expect([atEdge.closed, atFanout.closed.length]).toEqual([["silent"], 1]);
  });

  it("tells an edge why the fanout destroyed it", async () => {
    const { fanout, atEdge, atFanout } = await pair();
    fanout.destroy("no common link protocol");
    expect(atFanout.closed).toEqual(["no common link protocol"]);
    await waitFor(() => atEdge.closed.length > 0, { what: "the edge's end" });
    expect(atEdge.closed).toEqual([
      expect.stringMatching(/^9 FAILED_PRECONDITION: .*no common link protocol/),
    ]);
  });

  it("ends where the peer's server is cut off", async () => {
    const { atEdge, server } = await pair();
    server.forceShutdown();
    await waitFor(() => atEdge.closed.length > 0, { what: "the edge's end" });
  });

  it("ends within 5 s at both sides where the network between them swallows everything", async () => {
    const proxy = await blackHole();
    const { atEdge, atFanout } = await pair(proxy.through);
    proxy.swallow();
    await waitFor(() => atEdge.closed.length > 0 && atFanout.closed.length > 0, {
      what: "both ends",
      timeoutMs: 8000,
    });
    expect(performance.now() - proxy.swallowedAtMs).toBeLessThan(7000);
  }, 15_000);
});

/** A proxy that can stop passing bytes on while all connections stay open. */
async function blackHole() {
  let isSwallowing = false;
  let target = 0;
  const sockets: Socket[] = [];
  const proxy = createServer((near) => {
    const far = connectTcp(target, "127.0.0.1");
    sockets.push(near, far);
    for (const [from, to] of [
      [near, far],
      [far, near],
    ] as const) {
      from.on("data", (bytes) => !isSwallowing && to.write(bytes));
      from.on("error", () => undefined);
      from.on("close", () => !isSwallowing && to.destroy());
    }
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  });
  const state = {
    swallowedAtMs: 0,
    through: (port: number): number => {
      target = port;
      const address = proxy.address();
      if (address === null || typeof address === "string") throw new Error("the proxy does not listen");
      return address.port;
    },
    swallow: (): void => {
      isSwallowing = true;
      state.swallowedAtMs = performance.now();
    },
  };
  return state;
}
