/** The fleet's device against a gateway of the test's own that speaks the contract of resuming. */
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { waitFor } from "#test/support/wait-for.js";
import { Device } from "./device.js";
import { Ledger } from "./ledger.js";
import { Random } from "#test/support/random.js";

type ServerBody = NonNullable<ServerFrame["body"]>;

const CHANNEL = "order:1";
const cleanups: (() => void)[] = [];

afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** One end of a device's socket. */
class Visit {
  readonly frames: ClientFrame[] = [];

  constructor(
    readonly query: URLSearchParams,
    readonly websocket: WebSocket,
  ) {
    websocket.on("message", (data: Buffer) => this.frames.push(ClientFrame.decode(data)));
  }

  say(body: ServerBody, replyTo = 0): void {
    this.websocket.send(ServerFrame.encode({ replyTo, body }).finish());
  }

  welcome(resumeToken: string, resumed: boolean): void {
    const { body } = ServerFrame.fromPartial({ body: { $case: "welcome", value: { resumeToken, resumed } } });
    if (body !== undefined) this.say(body);
  }

  subscribed(offset: number, recovered: boolean, replyTo = 0): void {
    const value = { channel: CHANNEL, position: at(offset), recovered, latest: [], minSendIntervalMs: 0 };
    this.say({ $case: "subscribed", value }, replyTo);
  }

  event(offset: number): void {
    const orderStatus = { orderId: "1", status: `p${offset}`, previousStatus: "", message: "", workerId: "" };
    const value = { id: `e${offset}`, channel: CHANNEL, position: at(offset), timeMs: 1 };
    this.say({
      $case: "event",
      value: {
        ...value,
        correlationId: "",
        traceparent: "",
        body: { $case: "orderStatus", value: orderStatus },
      },
    });
  }

  frame(type: string): Promise<ClientFrame> {
    return waitFor(() => this.frames.find(({ body }) => body?.$case === type), { what: `a ${type} frame` });
  }
}

const at = (offset: number) => ({ epoch: "e", offset, tag: offset });

async function gateway(): Promise<{ url: string; visit(number: number): Promise<Visit> }> {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  await once(server, "listening");
  const visits: Visit[] = [];
  server.on("connection", (websocket: WebSocket, request: IncomingMessage) => {
    visits.push(new Visit(new URL(request.url ?? "", "ws://any").searchParams, websocket));
  });
  cleanups.push(() => {
    for (const { websocket } of visits) websocket.terminate();
    server.close();
  });
  const visit = (number: number) => waitFor(() => visits[number - 1], { what: `socket ${number}` });
  return { url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`, visit };
}

async function following(options: { tellsPositions: boolean }) {
  const { url, visit } = await gateway();
  const record = new Ledger().reader("ann");
  const given = { name: "ann", token: "t", framing: "protobuf" as const, record, random: new Random(1) };
  const device = new Device({ ...given, ...options, edges: () => [url] });
  cleanups.push(() => device.stop());
  const opened = device.open();
  const first = await visit(1);
  first.welcome("token-1", false);
  await opened;
  const followed = device.follow(CHANNEL);
  first.subscribed(0, false, (await first.frame("subscribe")).id);
  await followed;
  for (const offset of [1, 2]) first.event(offset);
  await waitFor(() => record.entries.length === 3, { what: "two events" });
  return { device, record, first, visit };
}

it("comes back with its token and its positions before anything else, and notes how it went on", async () => {
  const { record, first, visit } = await following({ tellsPositions: true });
  first.websocket.close(4000);
  const second = await visit(2);
  const resume = await second.frame("resume");
  expect(second.query.get("resume")).toBe("true");
  expect(second.frames).toHaveLength(1);
  expect(resume.body).toEqual({
    $case: "resume",
    value: { resumeToken: "token-1", positions: { [CHANNEL]: at(2) } },
  });
  second.welcome("token-2", true);
  second.subscribed(2, true);
  second.event(3);
  await waitFor(() => record.entries.at(-1)?.type === "read", { what: "the missed event" });
  expect(record.entries.map(({ type }) => type)).toEqual([
    ...["started", "read", "read", "closed", "back", "started", "read"],
  ]);
  expect(record.entries[4]).toMatchObject({ type: "back", resumed: true });
});

it("notes that it was told where the gateway could not recover", async () => {
  const { record, first, visit } = await following({ tellsPositions: true });
  first.websocket.terminate();
  const second = await visit(2);
  await second.frame("resume");
  second.welcome("token-2", true);
  second.subscribed(7, false);
  await waitFor(() => record.entries.at(-1)?.type === "told", { what: "the word" });
  expect(record.entries.at(-1)).toMatchObject({ channel: CHANNEL, position: at(7) });
});

it("says nothing of its positions where it shall not", async () => {
  const { first, visit } = await following({ tellsPositions: false });
  first.websocket.terminate();
  const { body } = await (await visit(2)).frame("resume");
  expect(body).toEqual({ $case: "resume", value: { resumeToken: "token-1", positions: {} } });
});

it("subscribes again behind what it has where its session is gone", async () => {
  const { first, visit } = await following({ tellsPositions: true });
  first.websocket.terminate();
  const second = await visit(2);
  await second.frame("resume");
  second.welcome("token-2", false);
  const { body } = await second.frame("subscribe");
  expect(body).toEqual({ $case: "subscribe", value: { channel: CHANNEL, after: at(2) } });
});

it("sends a frame without an answer again, with the same request id", async () => {
  const { device, first, visit } = await following({ tellsPositions: true });
  const custom = { channel: CHANNEL, type: "checked", data: { payload: "p" } };
  const answered = device.request({ $case: "custom", value: custom }, { requestId: "r1" });
  expect(await first.frame("custom")).toMatchObject({ requestId: "r1" });
  first.websocket.terminate();
  const second = await visit(2);
  await second.frame("resume");
  second.welcome("token-2", true);
  const again = await second.frame("custom");
  expect(again).toMatchObject({ requestId: "r1", body: { value: custom } });
  second.say({ $case: "reply", value: { position: at(3), id: "e3", timeMs: 1 } }, again.id);
  expect(await answered).toMatchObject({ type: "reply", position: at(3), id: "e3" });
});

it("moves when it is asked to, and is deaf to the old socket from then on", async () => {
  const { record, first, visit } = await following({ tellsPositions: true });
  first.say({ $case: "reconnect", value: { reason: 1, afterMs: 20 } });
  const second = await visit(2);
  await second.frame("resume");
  second.welcome("token-2", true);
  await waitFor(() => record.entries.some(({ type }) => type === "back"), { what: "the return" });
  // Asked for: no socket was closed on it.
  expect(record.entries.some(({ type }) => type === "closed")).toBe(false);
});

it("stays away where the close code says so, and comes back where it does not", async () => {
  const { device, first, visit } = await following({ tellsPositions: true });
  first.websocket.close(4001);
  const second = await visit(2);
  second.welcome("token-2", true);
  second.websocket.close(4203);
  await waitFor(() => device.isSentAway, { what: "the end" });
});
