import { once } from "node:events";
import { createServer } from "node:http";
import type { Duplex } from "node:stream";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket, WebSocketServer } from "ws";
import { freePort } from "#test/support/free-port.js";
import { Opcode, pingFrame, pingNumber, websocketFrame } from "./websocket-frame.js";

const http = createServer();
const websockets = new WebSocketServer({ noServer: true });
let server: Duplex;
let client: WebSocket;

beforeAll(async () => {
  const port = await freePort();
  http.on("upgrade", (request, socket: Duplex, head) => {
    server = socket;
    websockets.handleUpgrade(request, socket, head, () => undefined);
  });
  http.listen(port, "127.0.0.1");
  await once(http, "listening");
  client = new WebSocket(`ws://127.0.0.1:${port}`);
  await once(client, "open");
});

afterAll(() => {
  client.terminate();
  http.close();
  http.closeAllConnections();
});

/** What another implementation reads out of bytes that are written raw to its socket. */
async function received(bytes: Buffer, count = 1): Promise<{ data: Buffer; isBinary: boolean }[]> {
  const messages: { data: Buffer; isBinary: boolean }[] = [];
  const all = new Promise<void>((resolve, reject) => {
    client.on("message", (data: Buffer, isBinary) => {
      messages.push({ data, isBinary });
      if (messages.length === count) resolve();
    });
    client.once("close", (code) => reject(new Error(`closed with ${code}`)));
  });
  server.write(bytes);
  await all;
  client.removeAllListeners();
  return messages;
}

describe("websocketFrame", () => {
  it.each([0, 1, 125, 126, 127, 65_535, 65_536, 200_000])(
    "carries %i bytes, as ws reads them",
    async (length) => {
      const payload = Buffer.alloc(length, "x");
      for (const opcode of [Opcode.TEXT, Opcode.BINARY]) {
        const [message] = await received(websocketFrame(opcode, payload));
        expect(message?.isBinary).toBe(opcode === Opcode.BINARY);
        expect(message?.data.equals(payload)).toBe(true);
      }
    },
  );

  it("takes the shortest header that RFC 6455 allows, which it demands", () => {
    const headerBytes = (length: number): number =>
      websocketFrame(Opcode.BINARY, Buffer.alloc(length)).length - length;
    expect([0, 125, 126, 65_535, 65_536].map(headerBytes)).toEqual([2, 2, 4, 4, 10]);
  });

  it("copies its payload: the batch that it came in can go", () => {
    const batch = Buffer.from("a frame of a batch");
    const frame = websocketFrame(Opcode.TEXT, batch.subarray(2, 7));
    batch.fill(0);
    expect(frame.subarray(2).toString()).toBe("frame");
  });

  it("can be concatenated into one write", async () => {
    const frames = ["one", "two", "three"].map((text) => websocketFrame(Opcode.TEXT, Buffer.from(text)));
    const messages = await received(Buffer.concat(frames), 3);
    expect(messages.map(({ data }) => data.toString())).toEqual(["one", "two", "three"]);
  });

  it.each([1, 255, 0xffff_ffff])(
    "has a ping that is one, and whose number %i is in the pong",
    async (number) => {
      const ping = once(client, "ping");
      server.write(pingFrame(number));
      const [payload] = (await ping) as [Buffer];
      expect(pingNumber(payload)).toBe(number);
    },
  );

  it.each([0, 1, 3, 5, 125])("reads no number out of a pong of %i bytes", (length) => {
    expect(pingNumber(Buffer.alloc(length, 1))).toBe(0);
  });
});
