/** Who may open a link: an edge's way to a fanout over real gRPC, with the right token, a wrong one and none. */
import { afterEach, describe, expect, it } from "vitest";
import { grpcConnect } from "#edge/link/grpc-connect.js";
import { FanoutCounters } from "#fanout/fanout-counters.js";
import { LinkServer } from "#fanout/link/link-server.js";
import type { LinkStream } from "#proto/link/link-stream.js";
import { freePort } from "#test/support/free-port.js";
import { waitFor } from "#test/support/wait-for.js";

const TOKEN = "the-link-token-of-this-test";
const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

function serverAt(port: number, options: { host?: string; isOpen?: boolean } = {}) {
  const host = options.host ?? "127.0.0.1";
  const token = options.isOpen === true ? undefined : TOKEN;
  const accepted: LinkStream[] = [];
  const counters = new FanoutCounters();
  const accept = (stream: LinkStream) => {
    stream.listen({ batch: () => undefined, drained: () => undefined, closed: () => undefined });
    accepted.push(stream);
  };
  const server = new LinkServer({ host, port, token, tls: undefined, accept, counters, logger: silent });
  cleanups.push(() => server.stop());
  return { server, accepted, counters };
}

function connectTo(port: number, token: string | undefined) {
  const stream = grpcConnect({ token, tls: undefined })(`127.0.0.1:${port}`);
  cleanups.push(() => stream.destroy("the test ends"));
  const closed: string[] = [];
  stream.listen({
    batch: () => undefined,
    drained: () => undefined,
    closed: (reason) => closed.push(reason),
  });
  stream.send(new Uint8Array(0));
  return { stream, closed };
}

describe("a fanout's link port", () => {
  it("takes an edge with the right token, and refuses one with a wrong one or none as UNAUTHENTICATED", async () => {
    const { server, accepted, counters } = serverAt(0);
    const { port } = await server.start();
    const right = connectTo(port, TOKEN);
    await waitFor(() => accepted.length === 1, { what: "the link" });
    const refused = [
      connectTo(port, `${TOKEN}x`),
      connectTo(port, TOKEN.slice(1)),
      connectTo(port, undefined),
    ];
    for (const { closed } of refused) {
      await waitFor(() => closed.length === 1, { what: "the refusal" });
      expect(closed[0]).toMatch(/^16 UNAUTHENTICATED/);
    }
    expect([accepted.length, counters.linksRefused, right.closed]).toEqual([1, 3, []]);
  });

  it("may be open without a token on loopback only", () => {
    expect(() => serverAt(0, { host: "0.0.0.0", isOpen: true })).toThrow(/LINK_TOKEN/);
    expect(() => serverAt(0, { isOpen: true })).not.toThrow();
  });

  it("is found by the next try as soon as it is there, however long it was not", async () => {
    const port = await freePort();
    for (let attempt = 1; attempt <= 8; attempt += 1) {
      const { closed } = connectTo(port, TOKEN);
      await waitFor(() => closed.length === 1, { what: "the failure to connect" });
      expect(closed[0]).toMatch(/^14 UNAVAILABLE/);
    }
    const { server, accepted } = serverAt(port);
    await server.start();
    connectTo(port, TOKEN);
    await waitFor(() => accepted.length === 1, { what: "the link", timeoutMs: 1000 });
  });
});
