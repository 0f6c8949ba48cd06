#!/usr/bin/env node
/**
 * Shows a location arriving, with nothing but a WebSocket, JSON and the .proto files: a customer follows an
 * order, a porter drives, and a backend service says who takes part in it and publishes a status.
 *
 *   node examples/watch-order.mjs --customer <token> --porter <token>
 *
 * `npm start` prints this line with tokens in it. Further options, with their defaults:
 *   --url ws://localhost:3002/ws   --api localhost:50051   --api-token <none>   --order <random>   --count 5
 */
import { randomUUID } from "node:crypto";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { credentials, loadPackageDefinition, Metadata } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import WebSocket from "ws";

const TIMEOUT_MS = 15_000;
const SEND_EVERY_MS = 300;

const options = readOptions({
  customer: process.env.CUSTOMER_TOKEN ?? "",
  porter: process.env.PORTER_TOKEN ?? "",
  url: "ws://localhost:3002/ws",
  api: "localhost:50051",
  "api-token": process.env.API_TOKEN ?? "",
  order: `demo-${randomUUID().slice(0, 8)}`,
  count: "5",
});
if (options.customer === "" || options.porter === "") {
  console.error("--customer and --porter must be tokens, as `npm start` and `npm run token` print them");
  process.exit(2);
}
const channel = `order:${options.order}`;
const wanted = Number(options.count);

setTimeout(() => fail(`not done after ${TIMEOUT_MS} ms`), TIMEOUT_MS).unref();

// 1. Two apps connect: the token comes with the handshake, frames are canonical proto3 JSON.
const customer = await connect("customer", options.customer);
const porter = await connect("porter", options.porter);

// 2. A backend service says who takes part in the order. Until then nobody may follow it.
const api = openApi();
await api.call("ParticipationService", "Grant", {
  participations: [
    { channel, user_id: customer.userId, relation: "RELATION_OWNER" },
    { channel, user_id: porter.userId, relation: "RELATION_ASSIGNED" },
  ],
});
console.log(`api       granted ${channel} to ${customer.userId} (customer) and ${porter.userId} (porter)`);

// 3. The customer follows the order.
await customer.request({ subscribe: { channel } });
console.log(`customer  follows ${channel}`);

// 4. The service publishes a status, and the porter drives until the customer saw enough of it.
let seen = 0;
let sent = 0;
customer.onEvent = (event) => {
  if (event.orderStatus) console.log(`customer  sees the order is ${event.orderStatus.status}`);
  if (!event.location) return;
  seen += 1;
  const { workerId, latitude, longitude } = event.location;
  console.log(
    `customer  sees ${workerId} at ${latitude.toFixed(4)}, ${longitude.toFixed(4)} (${seen} of ${wanted})`,
  );
  if (seen >= wanted) finish();
};
await api.call("PublishService", "Publish", {
  items: [{ channel, event: { order_status: { order_id: options.order, status: "picked_up" } } }],
});
const driving = setInterval(() => {
  sent += 1;
  porter.send({
    locationUpdate: {
      latitude: 52.52 + sent * 0.0005,
      longitude: 13.405 + sent * 0.0005,
      heading: 45,
      speed: 8.5,
      // 64-bit integers are strings in proto3 JSON.
      timestampMs: String(Date.now()),
    },
  });
}, SEND_EVERY_MS);

function readOptions(defaults) {
  const options = Object.fromEntries(
    Object.entries(defaults).map(([name, value]) => [name, { type: "string", default: value }]),
  );
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return fail(error.message);
  }
}

/** Resolves when the gateway has said welcome. */
function connect(name, token) {
  return new Promise((resolve) => {
    const socket = new WebSocket(options.url, "realtime.v1.json", {
      headers: { authorization: `Bearer ${token}` },
    });
    const pending = new Map();
    let nextId = 1;
    const app = {
      userId: "",
      onEvent: () => {},
      send: (body) => socket.send(JSON.stringify(body)),
      request: (body) =>
        new Promise((answered) => {
          const id = nextId++;
          pending.set(id, answered);
          socket.send(JSON.stringify({ id, ...body }));
        }),
      close: () => socket.close(),
    };
    socket.on("error", (error) => fail(`${name}: ${error.message}`));
    socket.on("close", (code, reason) => fail(`${name}: closed with ${code} ${reason}`));
    socket.on("message", (data) => {
      const frame = JSON.parse(data.toString());
      if (frame.error) fail(`${name}: ${frame.error.code} ${frame.error.message}`);
      if (frame.welcome) {
        app.userId = frame.welcome.userId;
        console.log(`${name.padEnd(9)} is connected as ${app.userId} to ${frame.welcome.serverId}`);
        resolve(app);
      }
      if (frame.event) app.onEvent(frame.event);
      pending.get(frame.replyTo)?.(frame);
      pending.delete(frame.replyTo);
    });
  });
}

function openApi() {
  const root = fileURLToPath(new URL("../proto", import.meta.url));
  const definition = loadSync("realtime/api/v1/api.proto", {
    includeDirs: [root],
    keepCase: true,
    enums: String,
    longs: String,
  });
  const services = loadPackageDefinition(definition).realtime.api.v1;
  const metadata = new Metadata();
  if (options["api-token"] !== "") metadata.set("authorization", `Bearer ${options["api-token"]}`);
  return {
    async call(service, method, request) {
      const client = new services[service](options.api, credentials.createInsecure());
      try {
        const response = await new Promise((resolve, reject) => {
          const deadline = Date.now() + 5000;
          client[method](request, metadata, { deadline }, (error, answer) =>
            error ? reject(error) : resolve(answer),
          );
        });
        const refused = response.results.find((result) => result.error);
        if (refused) fail(`api: ${method}: ${refused.error.code} ${refused.error.message}`);
        return response;
      } catch (error) {
        return fail(`api: ${method}: ${error.message}`);
      } finally {
        client.close();
      }
    },
  };
}

function finish() {
  clearInterval(driving);
  console.log("done: that is the main way, from app to app");
  process.exit(0);
}

function fail(message) {
  console.error(message);
  process.exit(1);
}
