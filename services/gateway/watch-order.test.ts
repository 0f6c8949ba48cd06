/**
 * The example that `npm start` prints, run as a program against a stand-in that reads its frames and calls
 * with the generated contract: what it says must be sayable, and what it shows must have arrived.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { fileURLToPath } from "node:url";
import { Server, ServerCredentials, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { WebSocketServer, type WebSocket } from "ws";
import { decodeClientFrame, encodeServerFrame } from "#proto/frame-codec.js";
import {
  GrantResponse,
  ParticipationResult,
  ParticipationServiceService,
  PublishResponse,
  PublishServiceService,
  Relation,
  type GrantRequest,
  type PublishRequest,
} from "#proto/gen/realtime/api/v1/api.js";
import { Event, Location } from "#proto/gen/realtime/client/v1/event.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { Subscribed, Welcome, type ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { closeHttpServer, createHttpServer, listen } from "#services/http/http-server.js";

const EXAMPLE = fileURLToPath(new URL("../../examples/watch-order.mjs", import.meta.url));

let granted: GrantRequest[];
let published: PublishRequest[];
let grantAnswer: GrantResponse;
const http = { server: createHttpServer(() => undefined), port: 0 };
let sockets: WebSocketServer;
let api: Server;
let apiPort: number;

beforeEach(async () => {
  [granted, published] = [[], []];
  grantAnswer = GrantResponse.fromPartial({ results: [{}, {}] });
  http.server = createHttpServer(() => undefined);
  http.port = await listen(http.server, { host: "127.0.0.1", port: 0, portVariable: "PORT" });
  sockets = new WebSocketServer({ server: http.server });
  sockets.on("connection", serveSocket);
  api = new Server();
  api.addService({ grant: ParticipationServiceService.grant }, { grant });
  api.addService({ publish: PublishServiceService.publish }, { publish });
  apiPort = await new Promise<number>((resolve, reject) => {
    api.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
  });
});

afterEach(async () => {
  for (const socket of sockets.clients) socket.terminate();
  sockets.close();
  api.forceShutdown();
  await closeHttpServer(http.server, 0);
});

function grant(
  call: ServerUnaryCall<GrantRequest, GrantResponse>,
  answer: sendUnaryData<GrantResponse>,
): void {
  granted.push(call.request);
  answer(null, grantAnswer);
}

function publish(
  call: ServerUnaryCall<PublishRequest, PublishResponse>,
  answer: sendUnaryData<PublishResponse>,
): void {
  published.push(call.request);
  const event = call.request.items[0]?.event;
  for (const socket of sockets.clients) send(socket, 0, event && { $case: "event", value: event });
  answer(null, PublishResponse.fromPartial({ results: [{}] }));
}

function serveSocket(socket: WebSocket, { headers }: IncomingMessage): void {
  const role = headers.authorization?.replace("Bearer token-of-", "") ?? "nobody";
  const userId = `demo-${role}`;
  send(socket, 0, { $case: "welcome", value: Welcome.fromPartial({ userId, role, serverId: "stand-in" }) });
  socket.on("message", (data: Buffer) => {
    const { id, body } = decodeClientFrame(Framing.FRAMING_JSON, data);
    if (body?.$case === "subscribe") {
      const { channel } = body.value;
      send(socket, id, { $case: "subscribed", value: Subscribed.fromPartial({ channel }) });
    }
    if (body?.$case !== "locationUpdate") return;
    const { latitude = Number.NaN, longitude = Number.NaN } = body.value;
    const location = Location.fromPartial({ workerId: userId, latitude, longitude });
    const event = { ...Event.fromPartial({}), body: { $case: "location", value: location } } as const;
    for (const other of sockets.clients) {
      if (other !== socket) send(other, 0, { $case: "event", value: event });
    }
  });
}

function send(socket: WebSocket, replyTo: number, body: ServerFrame["body"]): void {
  socket.send(Buffer.from(encodeServerFrame(Framing.FRAMING_JSON, { replyTo, body })).toString());
}

async function run(...args: string[]): Promise<{ code: number | null; output: string; errors: string }> {
  const child = spawn(process.execPath, [EXAMPLE, ...args], {
    env: { PATH: process.env["PATH"] },
    timeout: 20_000,
    killSignal: "SIGKILL",
  });
  const written = { output: "", errors: "" };
  child.stdout.on("data", (chunk: Buffer) => (written.output += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (written.errors += chunk.toString()));
  await once(child, "close");
  return { code: child.exitCode, ...written };
}

function options(): string[] {
  return [
    ...["--url", `ws://127.0.0.1:${http.port}/ws`, "--api", `127.0.0.1:${apiPort}`],
    ...["--customer", "token-of-customer", "--porter", "token-of-porter", "--order", "42", "--count", "2"],
  ];
}

test("the example grants the order to both, follows it, and shows the status and the locations", async () => {
  const { code, output, errors } = await run(...options());
  expect([code, errors]).toEqual([0, ""]);
  expect(output).toContain("customer  sees the order is picked_up");
  expect(output).toContain("customer  sees demo-porter at 52.5205, 13.4055 (1 of 2)");
  expect(output).toContain("(2 of 2)");
  expect(granted[0]?.participations).toMatchObject([
    { channel: "order:42", userId: "demo-customer", relation: Relation.RELATION_OWNER },
    { channel: "order:42", userId: "demo-porter", relation: Relation.RELATION_ASSIGNED },
  ]);
  expect(published[0]?.items[0]).toMatchObject({ target: { $case: "channel", value: "order:42" } });
});

test("what the gateway refuses is shown, and the example ends with 1", async () => {
  const refused = { code: ErrorCode.ERROR_CODE_INVALID_ARGUMENT, message: "no such channel" };
  grantAnswer = GrantResponse.fromPartial({ results: [ParticipationResult.fromPartial({ error: refused })] });
  const { code, errors } = await run(...options());
  expect([code, errors]).toEqual([1, expect.stringContaining("no such channel")]);
});

test("without tokens the example says what it needs", async () => {
  const { code, errors } = await run();
  expect([code, errors]).toEqual([2, expect.stringContaining("--customer and --porter must be tokens")]);
});
