import { createServer, connect, type AddressInfo, type Server, type Socket } from "node:net";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Random } from "#test/support/random.js";
import { MAX_HELD_BYTES, TcpProxy } from "./tcp-proxy.js";
import { waitFor, within } from "./wait-for.js";

let echo: Server;
let accepted: Set<Socket>;
let proxy: TcpProxy;
const clients: Client[] = [];

/** A connection that keeps what it hears. */
class Client {
  readonly chunks: Buffer[] = [];
  readonly closed: Promise<{ readonly withError: boolean }>;
  isClosed = false;

  constructor(readonly socket: Socket) {
    let withError = false;
    socket.on("data", (bytes: Buffer) => this.chunks.push(bytes));
    socket.on("error", () => (withError = true));
    this.closed = new Promise((resolve) =>
      socket.on("close", () => {
        this.isClosed = true;
        resolve({ withError });
      }),
    );
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString();
  }

  async until(text: string): Promise<void> {
    await waitFor(() => this.text === text, { what: `to hear ${text.length} bytes` });
  }
}

function dial(port: number): Client {
  const client = new Client(connect(port, "127.0.0.1"));
  clients.push(client);
  return client;
}

async function open(): Promise<Client> {
  const client = dial(proxy.port);
  await within(new Promise((resolve) => client.socket.once("connect", resolve)), 5_000);
  return client;
}

beforeEach(async () => {
  accepted = new Set();
  echo = createServer({ allowHalfOpen: true }, (socket) => {
    accepted.add(socket);
    socket.on("error", () => undefined).on("close", () => accepted.delete(socket));
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => echo.listen(0, "127.0.0.1", resolve));
  proxy = await TcpProxy.start({ port: (echo.address() as AddressInfo).port });
});

afterEach(async () => {
  for (const { socket } of clients.splice(0)) socket.destroy();
  await proxy.close();
  for (const socket of accepted) socket.destroy();
  await new Promise((resolve) => echo.close(resolve));
});

it("hands on every byte in both directions, and the end of each", async () => {
  const client = await open();
  const text = "x".repeat(3_000_000);
  client.socket.end(text);
  await client.until(text);
  expect(await within(client.closed, 5_000)).toEqual({ withError: false });
  await waitFor(() => proxy.connections === 0 && accepted.size === 0, { what: "nothing left open" });
});

it("cuts every connection on both sides, and takes new ones", async () => {
  const client = await open();
  client.socket.write("a");
  await client.until("a");
  proxy.cut();
  expect(await within(client.closed, 5_000)).toEqual({ withError: true });
  await waitFor(() => accepted.size === 0, { what: "the target's side to be cut" });
  const next = await open();
  next.socket.write("b");
  await next.until("b");
});

it("refuses connections until all is normal again", async () => {
  proxy.refuse();
  await within(dial(proxy.port).closed, 5_000);
  expect(accepted.size).toBe(0);
  proxy.normal();
  const client = await open();
  client.socket.write("a");
  await client.until("a");
});

it("holds bytes of both directions while it is stalled, and connections stay open", async () => {
  const client = await open();
  client.socket.write("a");
  await client.until("a");
  const [peer] = accepted;
  if (peer === undefined) throw new Error("the target has a connection");
  proxy.stall();
  client.socket.write("b");
  peer.write("c");
  const second = await open();
  second.socket.write("d");
  // Had they passed, they would be here before the answer of a connection that goes past the proxy.
  const witness = dial((echo.address() as AddressInfo).port);
  witness.socket.write("e");
  await witness.until("e");
  expect([client.text, second.text, client.isClosed, second.isClosed]).toEqual(["a", "", false, false]);
  proxy.normal();
  await waitFor(() => client.text.length === 3, { what: "what was held" });
  expect(["abc", "acb"]).toContain(client.text);
  await second.until("d");
});

it("holds no more than its bound while it is stalled, and gives all of it on after", async () => {
  const client = await open();
  proxy.stall();
  const text = "x".repeat(40_000_000);
  client.socket.write(text);
  await waitFor(() => proxy.heldBytes > MAX_HELD_BYTES, { what: "as much as it holds" });
  // The rest waits in the sender: it has handed nothing over for as long as it takes to go around twice.
  const before = proxy.heldBytes;
  const witness = dial((echo.address() as AddressInfo).port);
  witness.socket.write("e");
  await witness.until("e");
  expect(proxy.heldBytes).toBe(before);
  expect(before).toBeLessThan(MAX_HELD_BYTES + 1024 * 1024);
  proxy.normal();
  await waitFor(() => client.text.length === text.length, {
    what: "all bytes",
    timeoutMs: 10_000,
    pollMs: 50,
  });
});

it("gives each direction its latency and keeps the order", async () => {
  const client = await open();
  client.socket.write("a");
  await client.until("a");
  // Far more than a busy machine's pauses.
  proxy.delay(300);
  const beganMs = performance.now();
  for (const letter of "bcdefg") client.socket.write(letter);
  await client.until("abcdefg");
  expect(performance.now() - beganMs).toBeGreaterThanOrEqual(598);
  proxy.normal();
  const healedMs = performance.now();
  client.socket.write("h");
  await client.until("abcdefgh");
  expect(performance.now() - healedMs).toBeLessThan(598);
});

it("slices what passes into small pieces and changes nothing of it", async () => {
  const client = await open();
  const text = Array.from({ length: 5_000 }, (_, index) => String(index % 10)).join("");
  proxy.slice({ maxBytes: 16, random: new Random(7).next });
  client.socket.write(text);
  await client.until(text);
  // A receiver may read several pieces at once, but never all of them.
  expect(client.chunks.length).toBeGreaterThan(20);
});
