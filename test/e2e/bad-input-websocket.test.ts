import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { RawOpcode, RawSocket, clientFrame } from "#test/support/raw-socket.js";
import type { RunningService } from "#test/support/process.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { ProcessMemory } from "./process-memory.js";
import { Witness } from "./witness.js";

/** `LONG_TESTS=1`: so many that a leak of a few bytes for each socket shows, and a queue without a bound grows long. */
const isLong = process.env["LONG_TESTS"] === "1";
const SOCKETS = isLong ? 3000 : 1000;
/** In thousands. What is forwarded of them is several times what may be under way. */
const PING_BATCHES = isLong ? 50 : 25;
const KIB = 1024;
const MIB = 1024 * KIB;
const memory = new ProcessMemory();
let cluster: Cluster;
let witness: Witness;
let token: string;
let edge: RunningService;

beforeAll(async () => {
  const rates = { HANDSHAKES_PER_SECOND: "5000", HANDSHAKES_PER_SECOND_PER_ADDRESS: "5000" };
  cluster = await Cluster.start({
    edges: 1,
    fanouts: 1,
    env: { ...memory.env, ...rates, LOG_LEVEL: "trace" },
  });
  const [only] = cluster.edges;
  if (only === undefined) throw new Error("no edge");
  edge = only;
  token = await cluster.token("mallory", "customer");
  witness = await Witness.start(cluster, { follower: 0, porter: 0 });
});

afterAll(async () => {
  await witness.stop();
  await cluster.stop();
  memory.remove();
});

function open(protocol: "json" | "protobuf" = "json"): Promise<RawSocket> {
  return RawSocket.open(edge.port("PORT"), { token, protocol: `realtime.v1.${protocol}` });
}

/** What a broken client sends, and the code that it is closed with. */
interface Broken {
  readonly what: string;
  readonly protocol?: "json" | "protobuf";
  readonly bytes: () => Buffer;
  readonly code: number;
}

const { TEXT, BINARY, CONTINUATION, PING, CLOSE } = RawOpcode;
const marker = `secret-${randomUUID()}`;
const badUtf8 = Buffer.concat([Buffer.from('{"id":1,"x":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]);

/** A message in pieces of so many bytes. */
function fragmented(count: number, bytes: number): Buffer {
  const pieces = Array.from({ length: count }, (_, index) =>
    clientFrame(index === 0 ? TEXT : CONTINUATION, Buffer.alloc(bytes, " "), { fin: index === count - 1 }),
  );
  return Buffer.concat(pieces);
}

const BROKEN: readonly Broken[] = [
  { what: "text that is not UTF-8", bytes: () => clientFrame(TEXT, badUtf8), code: 1007 },
  {
    what: "a binary frame on the JSON subprotocol",
    bytes: () => clientFrame(BINARY, marker),
    code: CloseCode.PROTOCOL_ERROR,
  },
  {
    what: "a text frame on the protobuf subprotocol",
    protocol: "protobuf",
    bytes: () => clientFrame(TEXT, marker),
    code: CloseCode.PROTOCOL_ERROR,
  },
  { what: "a frame of 65 KiB", bytes: () => clientFrame(TEXT, Buffer.alloc(65 * KIB, "x")), code: 1009 },
  {
    what: "a frame one byte too large",
    bytes: () => clientFrame(TEXT, Buffer.alloc(64 * KIB + 1)),
    code: 1009,
  },
  {
    what: "a frame that claims 100 MiB and brings nothing",
    bytes: () => clientFrame(TEXT, "", { claimedBytes: 100 * MIB }),
    code: 1009,
  },
  {
    what: "a frame that claims more than a number can say",
    bytes: () => Buffer.from([0x81, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]),
    code: 1009,
  },
  { what: "pieces that are too large together", bytes: () => fragmented(3, 30 * KIB), code: 1009 },
  { what: "too many pieces", bytes: () => fragmented(200, 1), code: 1008 },
  { what: "empty pieces without end", bytes: () => fragmented(5000, 0), code: 1008 },
  { what: "no mask", bytes: () => clientFrame(TEXT, "{}", { masked: false }), code: 1002 },
  { what: "a reserved bit", bytes: () => clientFrame(TEXT, "{}", { reservedBits: 0x20 }), code: 1002 },
  {
    what: "compression that was not agreed on",
    bytes: () => clientFrame(TEXT, "{}", { reservedBits: 0x40 }),
    code: 1002,
  },
  { what: "an opcode that does not exist", bytes: () => clientFrame(3, "{}"), code: 1002 },
  { what: "a piece of nothing", bytes: () => clientFrame(CONTINUATION, "{}"), code: 1002 },
  {
    what: "a message within a message",
    bytes: () => Buffer.concat([clientFrame(TEXT, "{", { fin: false }), clientFrame(TEXT, "{}")]),
    code: 1002,
  },
  { what: "a ping in pieces", bytes: () => clientFrame(PING, "x", { fin: false }), code: 1002 },
  { what: "a ping of 126 bytes", bytes: () => clientFrame(PING, Buffer.alloc(126)), code: 1002 },
  { what: "a close frame of one byte", bytes: () => clientFrame(CLOSE, "x"), code: 1002 },
  {
    what: "a close code that must not be sent",
    bytes: () => clientFrame(CLOSE, Buffer.from([0x03, 0xed])),
    code: 1002,
  },
  {
    what: "a close reason that is not UTF-8",
    bytes: () => clientFrame(CLOSE, Buffer.from([0x03, 0xe8, 0xc3, 0x28])),
    code: 1007,
  },
];

describe("what breaks the WebSocket protocol", () => {
  // At once: who is told the reason gets three seconds to answer.
  it.concurrent.each(BROKEN)(
    "$what closes the socket with $code, and ends it",
    async ({ protocol, bytes, code }) => {
      const socket = await open(protocol);
      socket.write(bytes());
      expect(await socket.untilCloseCode()).toBe(code);
      await socket.untilClosed();
      socket.destroy();
    },
  );

  it("a frame of 100 MiB is not taken in: it is closed at its header, and cut if it goes on", async () => {
    for (const inPieces of [false, true]) {
      const socket = await open();
      if (!inPieces) socket.write(clientFrame(TEXT, "", { claimedBytes: 100 * MIB }));
      const piece = inPieces
        ? clientFrame(TEXT, Buffer.alloc(MIB, "x"), { fin: false })
        : Buffer.alloc(MIB, "x");
      for (let sent = 0; sent < 100 && !socket.socket.destroyed && !socket.isClosed; sent += 1) {
        await new Promise<void>((resolve) => {
          socket.socket.write(piece, () => resolve());
          socket.socket.once("close", resolve);
        });
      }
      await socket.untilClosed();
      socket.destroy();
    }
  });

  it("frames just within the limits are taken", async () => {
    const socket = await open();
    const ping = JSON.stringify({ id: 1, ping: {}, correlationId: "c" }).padEnd(64 * KIB);
    socket.send(TEXT, ping);
    const text = JSON.stringify({ id: 2, ping: {} });
    const pieces = Array.from(text.padEnd(128), (letter, index) =>
      clientFrame(index === 0 ? TEXT : CONTINUATION, letter, { fin: index === 127 }),
    );
    socket.write(Buffer.concat(pieces));
    await waitFor(() => socket.frames().filter(({ payload }) => payload.includes('"pong"')).length === 2, {
      what: "two pongs",
    });
    socket.destroy();
  });
});

describe("a socket that sends without end", () => {
  const pingBody = { $case: "ping", value: { clientTimeMs: 0 } } as const;

  it(
    `gets all of ${PING_BATCHES} thousand pings answered, while few are under way, and nobody else notices`,
    { timeout: 60_000 },
    async () => {
      const socket = await open("protobuf");
      const batches = Array.from({ length: PING_BATCHES }, (_, batch) =>
        Buffer.concat(
          Array.from({ length: 1000 }, (_ping, index) => {
            const id = batch * 1000 + index + 1;
            const frame = ClientFrame.encode({ ...ClientFrame.fromPartial({ id }), body: pingBody }).finish();
            return clientFrame(BINARY, Buffer.from(frame));
          }),
        ),
      );
      for (const batch of batches) socket.write(batch);
      let bytes = 0;
      socket.socket.on("data", (chunk: Buffer) => (bytes += chunk.length));
      await waitFor(
        async () => {
          expect(await cluster.metric(edge, "realtime_edge_link_queued_bytes")).toBeLessThan(MIB);
          return socket.frames().length >= PING_BATCHES * 1000;
        },
        { what: "all pongs", timeoutMs: 45_000, pollMs: 200 },
      );
      expect(bytes).toBeGreaterThan(PING_BATCHES * 1000);
      socket.destroy();
      await witness.check();
    },
  );

  it("and does not read: is closed as slow, its memory bounded", { timeout: 60_000 }, async () => {
    const socket = await open("protobuf");
    socket.stopReading();
    // What is said to it is longer than what it says.
    const body = { $case: "subscribe", value: { channel: "x", after: undefined } } as const;
    const frame = ClientFrame.encode({ ...ClientFrame.fromPartial({ id: 1 }), body }).finish();
    const batch = Buffer.concat(Array.from({ length: 1000 }, () => clientFrame(BINARY, Buffer.from(frame))));
    const before = await cluster.metric(edge, "realtime_connections_closed_total");
    const flooding = setInterval(() => {
      if (socket.socket.writableLength < MIB) socket.write(batch);
    }, 1);
    try {
      await waitFor(
        async () => {
          expect(await cluster.metric(edge, "realtime_edge_queued_bytes")).toBeLessThanOrEqual(
            MIB + 64 * KIB,
          );
          return (await cluster.metric(edge, "realtime_connections_closed_total")) > before;
        },
        { what: "the socket to be closed", timeoutMs: 50_000, pollMs: 100 },
      );
    } finally {
      clearInterval(flooding);
      socket.destroy();
    }
  });

  it("WebSocket pings and does not read the pongs is cut", async () => {
    const socket = await open();
    socket.stopReading();
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => clientFrame(PING, Buffer.alloc(125))));
    const before = await cluster.metric(edge, "realtime_connections_closed_total");
    for (let sent = 0; sent < 100; sent += 1) socket.write(pings);
    await waitFor(async () => (await cluster.metric(edge, "realtime_connections_closed_total")) > before, {
      what: "the socket to be closed",
      timeoutMs: 20_000,
      pollMs: 50,
    });
    socket.destroy();
  });
});

describe("after all this", () => {
  it(`memory is back where it was after ${SOCKETS} more broken sockets`, { timeout: 120_000 }, async () => {
    const services = [...cluster.edges, ...cluster.fanouts];
    const before = await Promise.all(services.map((service) => memory.measure(service)));
    for (let round = 0; round < SOCKETS / 50; round += 1) {
      const sockets = await Promise.all(
        Array.from({ length: 50 }, (_, index) => open(BROKEN[index % BROKEN.length]?.protocol)),
      );
      for (const [index, socket] of sockets.entries()) {
        const broken = BROKEN[index % BROKEN.length];
        if (broken !== undefined) socket.write(broken.bytes());
      }
      await Promise.all(sockets.map((socket) => socket.untilCloseCode()));
      for (const socket of sockets) socket.destroy();
    }
    await waitFor(async () => (await cluster.metric(edge, "realtime_active_connections")) === 2, {
      what: "the witness to be alone",
      timeoutMs: 10_000,
    });
    // What is told about the last of them (their records, their presence) is still under way for a moment.
    const untilBack = services.map(async (service, index): Promise<void> => {
      const base = before[index];
      const isBack = async (): Promise<boolean> => {
        const after = await memory.measure(service);
        return (
          after.heapBytes - (base?.heapBytes ?? 0) < 4 * MIB &&
          after.externalBytes - (base?.externalBytes ?? 0) < 4 * MIB &&
          after.residentBytes - (base?.residentBytes ?? 0) < 64 * MIB
        );
      };
      await waitFor(isBack, { what: "the memory to be back", timeoutMs: 40_000, pollMs: 2000 });
    });
    await Promise.all(untilBack);
  });

  it("no process ended, and nothing of what was sent is in a log", () => {
    for (const service of [...cluster.edges, ...cluster.fanouts]) {
      service.process.assertRunning();
      const log = service.process.output.join("\n");
      expect([token, token.split(".")[2] ?? "", marker].filter((secret) => log.includes(secret))).toEqual([]);
    }
  });
});
