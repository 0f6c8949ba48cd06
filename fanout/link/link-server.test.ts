import { Client, credentials, Metadata, status, type ClientDuplexStream } from "@grpc/grpc-js";
import { afterEach, describe, expect, it } from "vitest";
import { LINK_METHOD } from "#proto/link/grpc-link-stream.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import { SILENT } from "#test/support/fanout-core.js";
import { FanoutCounters } from "../fanout-counters.js";
import { LinkServer, type LinkServerOptions } from "./link-server.js";

const TOKEN = "the-link-token";
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup();
});

function options(more: Partial<LinkServerOptions> = {}): LinkServerOptions {
  return {
    host: "127.0.0.1",
    port: 0,
    token: undefined,
    tls: undefined,
    accept: () => undefined,
    counters: new FanoutCounters(),
    logger: SILENT,
    ...more,
  };
}

async function start(more: Partial<LinkServerOptions> = {}) {
  const accepted: LinkStream[] = [];
  const counters = new FanoutCounters();
  const server = new LinkServer(options({ ...more, counters, accept: (stream) => accepted.push(stream) }));
  cleanups.push(() => server.stop());
  const { port } = await server.start();
  return { port, accepted, counters };
}

function connect(port: number, authorization?: string): ClientDuplexStream<Uint8Array, Uint8Array> {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
  cleanups.push(() => client.close());
  const metadata = new Metadata();
  if (authorization !== undefined) metadata.set("authorization", authorization);
  const { path, requestSerialize, responseDeserialize } = LINK_METHOD;
  return client.makeBidiStreamRequest(path, requestSerialize, responseDeserialize, metadata, {
    deadline: Date.now() + 5_000,
  });
}

/** "open" where the server took the stream, else the status with which it was refused. */
function outcome(stream: ClientDuplexStream<Uint8Array, Uint8Array>): Promise<unknown> {
  return new Promise((resolve) => {
    let isRefused = false;
    stream.on("error", (error: Error & { code?: number }) => {
      isRefused = true;
      resolve(error.code);
    });
    stream.on("data", () => undefined);
    stream.on("metadata", () => {
      // A refusal may send headers too, with its status right behind.
      setImmediate(() => {
        if (!isRefused) resolve("open");
      });
    });
  });
}

describe("the link's server", () => {
  it.each([undefined, "Bearer wrong", "Bearer ", `bearer ${TOKEN}`, TOKEN, `Bearer ${TOKEN} `.repeat(2)])(
    "refuses an edge that shows %j for a token",
    async (authorization) => {
      const { port, accepted, counters } = await start({ token: TOKEN });
      expect(await outcome(connect(port, authorization))).toBe(status.UNAUTHENTICATED);
      expect(accepted).toEqual([]);
      expect(counters.linksRefused).toBe(1);
    },
  );

  it("takes an edge with the token, and passes batches both ways", async () => {
    const { port, accepted } = await start({ token: TOKEN });
    const stream = connect(port, `Bearer ${TOKEN}`);
    expect(await outcome(stream)).toBe("open");
    const [link] = accepted;
    if (link === undefined) throw new Error("the link was taken");
    const received = new Promise((resolve) => {
      link.listen({
        batch: (batch) => resolve(Buffer.from(batch).toString()),
        drained: () => undefined,
        closed: () => undefined,
      });
    });
    const answered = new Promise((resolve) =>
      stream.once("data", (batch: Buffer) => resolve(batch.toString())),
    );
    stream.write(Buffer.from("up"));
    expect(await received).toBe("up");
    link.send(Buffer.from("down"));
    expect(await answered).toBe("down");
  });

  it("tells an edge that it destroys why", async () => {
    const { port, accepted } = await start();
    const stream = connect(port);
    const ended = new Promise((resolve) => stream.on("error", resolve));
    expect(await outcome(stream)).toBe("open");
    accepted[0]?.destroy("no common link protocol");
    expect(await ended).toMatchObject({
      code: status.FAILED_PRECONDITION,
      details: "no common link protocol",
    });
  });

  it("is not opened beyond loopback without a token or a client CA", () => {
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "example.org"]) {
      expect(() => new LinkServer(options({ host }))).toThrow(/LINK_TOKEN/);
      expect(() => new LinkServer(options({ host, tls: { key: "k", cert: "c" } }))).toThrow(/LINK_TOKEN/);
      expect(() => new LinkServer(options({ host, token: TOKEN }))).not.toThrow();
    }
    for (const host of ["127.0.0.1", "::1", "localhost"]) {
      expect(() => new LinkServer(options({ host }))).not.toThrow();
    }
  });
});
