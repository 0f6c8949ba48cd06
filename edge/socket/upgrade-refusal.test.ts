import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { freePort } from "#test/support/free-port.js";
import { RawSocket } from "#test/support/raw-socket.js";
import { waitFor } from "#test/support/wait-for.js";
import { refuseUpgrade, type UpgradeRefusal } from "./upgrade-refusal.js";

let server: Server;
let client: RawSocket;
let refusal: UpgradeRefusal;

beforeEach(async () => {
  server = createServer();
  server.on("upgrade", (_request, socket) => refuseUpgrade(socket, refusal));
  const port = await freePort();
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  client = await RawSocket.connect(port);
});

afterEach(() => {
  client.destroy();
  server.close();
});

function connections(): Promise<number> {
  return new Promise((resolve, reject) => {
    server.getConnections((error, count) => (error === null ? resolve(count) : reject(error)));
  });
}

describe("refuseUpgrade", () => {
  it("answers with the status, the reason as JSON, and when to come back in whole seconds", async () => {
    refusal = { status: 503, code: "unavailable", message: "later – please", retryAfterMs: 1001 };
    const answer = await client.handshake();
    expect(answer.status).toBe(503);
    expect(JSON.parse(answer.body)).toEqual({
      code: "unavailable",
      message: "later – please",
      retryAfterMs: 1001,
    });
    expect(answer.headers.get("retry-after")).toBe("2");
    expect(answer.headers.get("content-type")).toBe("application/json");
  });

  it("names no time where coming back does not help", async () => {
    refusal = { status: 404, code: "not_found", message: "no" };
    const answer = await client.handshake();
    expect(answer.headers.has("retry-after")).toBe(false);
    expect(JSON.parse(answer.body)).not.toHaveProperty("retryAfterMs");
  });

  it("ends the connection, also of a peer that does not end its own side", async () => {
    refusal = { status: 400, code: "invalid_argument", message: "no" };
    await client.handshake();
    await client.untilClosed();
    await waitFor(async () => (await connections()) === 0, { what: "the connection to be forgotten" });
  });
});
