import { createServer, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import type { ClientPlan, RunningContestant } from "../contestant.js";
import { accuracyOf, monotonicUs } from "../send-time.js";
import { Generator } from "./generator.js";

const ROOM_SIZE = 5;

const clients: readonly ClientPlan[] = Array.from({ length: 20 }, (_, index) => ({
  userId: `u${index}`,
  room: `r${Math.floor(index / ROOM_SIZE)}`,
  // One sender in most rooms, two in the first.
  isSender: index % ROOM_SIZE === 0 || index === 1,
}));

/** A contestant in the test's own process, which does its work as well as it is told to. */
class RoomServer {
  readonly rooms = new Map<string, Set<WebSocket>>();
  readonly #http: Server;
  /** How often the message of this number is relayed. */
  times: (message: number) => number = () => 1;
  isRefusing = false;
  connections = 0;
  #messages = 0;

  private constructor(http: Server) {
    this.#http = http;
    const server = new WebSocketServer({ noServer: true });
    http.on("upgrade", (request, socket, head) => {
      this.connections += 1;
      if (this.isRefusing) socket.end("HTTP/1.1 503 Service Unavailable\r\nRetry-After: 0\r\n\r\n");
      else server.handleUpgrade(request, socket, head, (websocket) => this.#serve(websocket));
    });
  }

  static async start(): Promise<RoomServer> {
    const http = createServer();
    http.listen(0, "127.0.0.1");
    await once(http, "listening");
    return new RoomServer(http);
  }

  get contestant(): RunningContestant {
    const { port } = this.#http.address() as AddressInfo;
    return {
      ...{ name: "rooms", dialect: "bare-ws", endpoints: [{ host: "127.0.0.1", port }], processes: [] },
      admit: async () => undefined,
      credentials: async () => "",
      publish: async ({ room, sentAtUs }) =>
        this.relay(room, JSON.stringify({ accuracy: accuracyOf(sentAtUs) })),
      stop: () => this.stop(),
    };
  }

  get sockets(): readonly WebSocket[] {
    return [...this.rooms.values()].flatMap((room) => [...room]);
  }

  relay(room: string, text: string): void {
    for (const socket of this.rooms.get(room) ?? []) socket.send(text);
  }

  async stop(): Promise<void> {
    for (const socket of this.sockets) socket.terminate();
    this.#http.close();
    await once(this.#http, "close");
  }

  #serve(socket: WebSocket): void {
    let room: string | undefined;
    socket.on("message", (data: Buffer) => {
      if (room === undefined) {
        const { join } = JSON.parse(data.toString()) as { readonly join: string };
        room = join;
        const members = this.rooms.get(join) ?? new Set();
        this.rooms.set(join, members.add(socket));
        socket.on("close", () => members.delete(socket));
        socket.send(JSON.stringify({ joined: join }));
        return;
      }
      this.#messages += 1;
      const text = data.toString();
      for (let time = 0; time < this.times(this.#messages); time += 1) this.relay(room, text);
    });
  }
}

let server: RoomServer;
let generator: Generator;

beforeAll(async () => {
  generator = await Generator.start({ workers: 2 });
});

afterAll(() => generator.stop());

beforeEach(async () => {
  server = await RoomServer.start();
});

afterEach(() => server.stop());

const connect = () => generator.connect(server.contestant, clients, { perSecond: 500 });
const load = { perSecond: 400, seconds: 0.5, warmUpSeconds: 0.1 };

describe("locations that clients send", () => {
  test("are counted, all of them, with their latency and without the warm-up", async () => {
    await connect();
    const result = await generator.sendLocations(load);
    expect(result.sent).toBeGreaterThanOrEqual(200);
    expect(result.sent).toBeLessThan(210);
    expect(result).toMatchObject({ expected: result.sent * ROOM_SIZE, lost: 0, repeated: 0, closed: 0 });
    expect(result.delivered).toBe(result.expected);
    const { p50, p99, max } = result.latencyMs;
    expect(p50).toBeGreaterThan(0);
    expect(p99).toBeGreaterThanOrEqual(p50);
    expect(max).toBeGreaterThanOrEqual(p99);
    expect(max).toBeLessThan(3000);
  });

  test("are missed where the server loses them", async () => {
    await connect();
    server.times = (message) => (message % 10 === 0 ? 0 : 1);
    const { lost, expected, repeated } = await generator.sendLocations(load);
    expect(lost).toBeGreaterThan(0);
    expect(Math.abs(lost - expected / 10)).toBeLessThanOrEqual(ROOM_SIZE * 3);
    expect(repeated).toBe(0);
  });

  test("are told where the server repeats them, and are no deliveries then", async () => {
    await connect();
    server.times = (message) => (message % 10 === 0 ? 2 : 1);
    const { lost, expected, repeated } = await generator.sendLocations(load);
    expect(lost).toBe(0);
    expect(repeated).toBeGreaterThan(0);
    expect(Math.abs(repeated - expected / 10)).toBeLessThanOrEqual(ROOM_SIZE * 3);
  });
});

test("events of a backend are counted from when measuring begins", async () => {
  await connect();
  const publish = (sequence: number) =>
    server.contestant.publish({ room: "r2", sentAtUs: monotonicUs(), sequence });
  await publish(1);
  await generator.beginMeasuring();
  await publish(2);
  await publish(3);
  const result = await generator.endMeasuring(2 * ROOM_SIZE);
  expect(result).toMatchObject({ sent: 0, delivered: 10, expected: 10, lost: 0, repeated: 0, closed: 0 });
});

test("a socket that the server closes is told, with the reason", async () => {
  await connect();
  await generator.beginMeasuring();
  const [first] = server.sockets;
  if (first === undefined) throw new Error("nobody is connected");
  first.close(4001, "slow");
  await once(first, "close");
  const result = await generator.endMeasuring(0);
  expect(result).toMatchObject({ closed: 1, problems: { "closed with 4001 slow": 1 } });
});

test("all that are dropped come back, also where the server refuses them at first", async () => {
  await connect();
  server.connections = 0;
  server.isRefusing = true;
  const returning = generator.dropAndReturn();
  await expect.poll(() => server.connections, { timeout: 5000 }).toBeGreaterThanOrEqual(clients.length);
  server.isRefusing = false;
  const { resumed, failedAttempts } = await returning;
  expect(resumed).toBe(0);
  expect(failedAttempts["HTTP 503"]).toBeGreaterThanOrEqual(clients.length);
  expect(server.sockets).toHaveLength(clients.length);
  const { lost, closed } = await generator.sendLocations(load);
  expect({ lost, closed }).toEqual({ lost: 0, closed: 0 });
});

test("who does not get in is told, with the reasons", async () => {
  await connect();
  server.isRefusing = true;
  const returning = generator.dropAndReturn({ timeoutMs: 300 });
  await expect(returning).rejects.toThrow(/20 of 20 clients are not in their rooms: .*HTTP 503/);
});

test("questions to a worker that has ended fail", async () => {
  const other = await Generator.start({ workers: 1 });
  const [pid] = other.pids;
  if (pid !== undefined) process.kill(pid, "SIGKILL");
  await expect(other.beginMeasuring()).rejects.toThrow("SIGKILL");
  await other.stop();
});
