import { once } from "node:events";
import { existsSync } from "node:fs";
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { io } from "socket.io-client";
import { afterEach, describe, expect, test } from "vitest";
import WebSocket from "ws";
import { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import type { ClientPlan, Contestant, RunningContestant } from "../contestant.js";
import { accuracyOf, latencyUs, monotonicUs } from "../send-time.js";
import { readUsage } from "../process-usage.js";
import { bareWs } from "./bare-ws.js";
import { gatewayJson, gatewayProtobuf, startGateway } from "./gateway.js";
import { socketIo } from "./socket-io.js";

/** What reaches a client, whatever the contestant calls it. */
interface ReceivedLocation {
  readonly workerId: string | undefined;
  readonly latitude: number;
  readonly longitude: number;
  readonly heading: number | undefined;
  readonly speed: number | undefined;
  readonly accuracy: number | undefined;
}

interface Client {
  readonly received: ReceivedLocation[];
  sendLocation(accuracy: number): void;
  close(): void;
}

const ROOM = "o1";
const sender: ClientPlan = { userId: "porter-1", room: ROOM, isSender: true };
const follower: ClientPlan = { userId: "customer-1", room: ROOM, isSender: false };
const stranger: ClientPlan = { userId: "customer-2", room: "o2", isSender: false };
const MEASURED = { latitude: 52.5, longitude: 13.25, heading: 90, speed: 12.5 };

const stops: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const stop of stops.splice(0).reverse()) await stop();
});

async function connect(contestant: RunningContestant, index: number, plan: ClientPlan): Promise<Client> {
  const endpoint = contestant.endpoints[index % contestant.endpoints.length];
  if (endpoint === undefined) throw new Error("no endpoint");
  const address = `${endpoint.host}:${endpoint.port}`;
  const credentials = await contestant.credentials(plan);
  const client = await CONNECT[contestant.dialect](address, credentials, plan);
  stops.push(() => client.close());
  return client;
}

type Connect = (address: string, credentials: string, plan: ClientPlan) => Promise<Client>;

const CONNECT: Readonly<Record<RunningContestant["dialect"], Connect>> = {
  "gateway-protobuf": (address, token, plan) => connectApp(address, token, plan, "protobuf"),
  "gateway-json": (address, token, plan) => connectApp(address, token, plan, "json"),
  "socket-io": connectSocketIo,
  "bare-ws": connectBareWs,
};

async function connectApp(
  address: string,
  token: string,
  { room }: ClientPlan,
  framing: "protobuf" | "json",
): Promise<Client> {
  const app = await AppClient.open({ url: `ws://${address}/ws`, token, framing });
  const welcome = () => app.frames.find(({ body }) => body?.$case === "welcome");
  await app.until(() => app.closedWith ?? welcome(), { what: "welcome or a refusal" });
  if (app.closedWith !== undefined) throw new Error(`refused with ${app.closedWith.code}`);
  const channel = `order:${room}`;
  await app.subscribe(channel);
  return {
    get received() {
      return app.eventsOf(channel, "location").flatMap(({ body }) => {
        if (body?.$case !== "location") return [];
        const { heading, speed, accuracy, ...location } = body.value;
        return [{ ...location, heading, speed, accuracy }];
      });
    },
    sendLocation: (accuracy) => {
      const value = { ...MEASURED, accuracy, timestampMs: Date.now(), orderId: room };
      app.send({ $case: "locationUpdate", value });
    },
    close: () => app.websocket.terminate(),
  };
}

async function connectSocketIo(address: string, token: string, { room }: ClientPlan): Promise<Client> {
  const options = { transports: ["websocket"], auth: { token }, reconnection: false, forceNew: true };
  const socket = io(`http://${address}`, options);
  const received: ReceivedLocation[] = [];
  socket.on("location_update", (location: ReceivedLocation) => received.push(location));
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve);
    socket.once("connect_error", reject);
  });
  expect(await socket.timeout(5000).emitWithAck("join", room)).toEqual({ joined: room });
  return {
    received,
    sendLocation: (accuracy) =>
      socket.emit("location", { ...MEASURED, orderId: room, accuracy, timestamp: Date.now() }),
    close: () => socket.disconnect(),
  };
}

async function connectBareWs(address: string, _: string, { room, userId }: ClientPlan): Promise<Client> {
  const socket = new WebSocket(`ws://${address}`);
  await once(socket, "open");
  socket.send(JSON.stringify({ join: room }));
  const received: ReceivedLocation[] = [];
  await new Promise<void>((resolve) => {
    socket.once("message", (data: Buffer) => {
      expect(JSON.parse(data.toString())).toEqual({ joined: room });
      socket.on("message", (text: Buffer) => received.push(JSON.parse(text.toString()) as ReceivedLocation));
      resolve();
    });
  });
  return {
    received,
    sendLocation: (accuracy) =>
      socket.send(
        JSON.stringify({
          ...MEASURED,
          ...{ orderId: room, workerId: userId, accuracy, timestamp: Date.now() },
        }),
      ),
    close: () => socket.terminate(),
  };
}

async function started(contestant: Contestant): Promise<RunningContestant> {
  const running = await contestant.start({});
  stops.push(() => running.stop());
  return running;
}

const isAlive = (pid: number): boolean => existsSync(`/proc/${pid}`);

describe.each([gatewayProtobuf, gatewayJson, socketIo, bareWs])("$name", (contestant) => {
  test("brings what is sent to the whole room and nobody else, and tells all its processes", async () => {
    const running = await started(contestant);
    expect(running.name).toBe(contestant.name);
    await running.admit([sender, follower, stranger]);
    const porter = await connect(running, 0, sender);
    const customer = await connect(running, 1, follower);
    const other = await connect(running, 0, stranger);

    const sentAtUs = monotonicUs();
    porter.sendLocation(accuracyOf(sentAtUs));
    await running.publish({ room: ROOM, sentAtUs: sentAtUs + 1, sequence: 1 });
    for (const client of [porter, customer]) {
      await waitFor(() => client.received.length >= 2, { what: "both locations" });
    }
    // Whatever leaked to the other room was sent before this.
    await running.publish({ room: stranger.room, sentAtUs: sentAtUs + 2, sequence: 2 });
    await waitFor(() => other.received.length >= 1, { what: "the other room's location" });

    for (const client of [porter, customer]) {
      const byPorter = client.received.filter(({ workerId }) => workerId === sender.userId);
      expect(byPorter).toHaveLength(1);
      expect(byPorter[0]).toMatchObject({ ...MEASURED, accuracy: accuracyOf(sentAtUs) });
      const byBackend = client.received.filter(({ workerId }) => workerId === "backend");
      expect(byBackend).toHaveLength(1);
      expect(latencyUs(byBackend[0]?.accuracy ?? 0, sentAtUs + 1)).toBe(0);
      expect(client.received).toHaveLength(2);
    }
    expect(other.received).toHaveLength(1);

    const pids = running.processes.map(({ pid }) => pid);
    expect(new Set(pids).size).toBe(pids.length);
    expect(readUsage(pids).cpuMs).toBeGreaterThan(0);
    await running.stop();
    expect(pids.filter(isAlive)).toEqual([]);
  });
});

describe.each([gatewayProtobuf, socketIo, bareWs])("$name", (contestant) => {
  test("ends with the benchmark, however that ends", async () => {
    const file = fileURLToPath(new URL("start-and-wait.mjs", import.meta.url));
    const args = ["--conditions=development", "--import", "tsx", file, contestant.name];
    const benchmark = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    stops.push(() => void benchmark.kill("SIGKILL"));
    const [text] = (await once(benchmark.stdout, "data")) as [Buffer];
    const pids = JSON.parse(text.toString()) as number[];
    expect(pids.filter(isAlive)).toEqual(pids);
    benchmark.kill("SIGKILL");
    await waitFor(() => !pids.some(isAlive), { what: "its processes to end" });
  });
});

test("the gateway and Socket.IO refuse who has no token of theirs", async () => {
  for (const contestant of [gatewayProtobuf, socketIo]) {
    const running = await started(contestant);
    const [endpoint] = running.endpoints;
    const address = `${endpoint?.host}:${endpoint?.port}`;
    await expect(CONNECT[running.dialect](address, "a.b.c", sender)).rejects.toThrow(
      /refused with 4100|unauthorized/,
    );
  }
});

test("the gateway lets nobody into a room whom it was not told of", async () => {
  const running = await started(gatewayJson);
  await running.admit([follower]);
  await expect(connect(running, 0, { ...follower, room: "o3" })).rejects.toThrow("subscribing to order:o3");
});

test("the gateway's backend publishes durable statuses, one by one, many in a call and streamed", async () => {
  const running = await startGateway({ framing: "json" });
  stops.push(() => running.stop());
  await running.admit([follower]);
  const { endpoints } = running;
  const url = `ws://${endpoints[0]?.host}:${endpoints[0]?.port}/ws`;
  const app = await AppClient.connect({ url, token: await running.credentials(follower) });
  stops.push(() => app.websocket.terminate());
  await app.subscribe(`order:${ROOM}`);
  const event = (sequence: number) => ({ room: ROOM, sentAtUs: monotonicUs(), sequence });
  await running.backend.publishStatuses([event(1)]);
  await running.backend.publishStatuses([event(2), event(3)], { fanout: 1 });
  const offsets = () => app.eventsOf(`order:${ROOM}`, "orderStatus").map(({ position }) => position?.offset);
  const stream = running.backend.openStatuses({ fanout: 1 });
  await Promise.all([stream.publish([event(4)]), stream.publish([event(5), event(6)])]);
  await waitFor(() => offsets().length >= 6, { what: "six statuses" });
  expect(offsets()).toEqual([1, 2, 3, 4, 5, 6]);
  await expect(running.backend.publishStatuses([event(3)])).rejects.toThrow("PUBLISH_OUTCOME_REPEATED");
  await expect(stream.publish([event(3)])).rejects.toThrow("PUBLISH_OUTCOME_REPEATED");
  const malformed = expect(stream.publish([])).rejects.toThrow("the stream ended with 3");
  await stream.end();
  await malformed;
});
