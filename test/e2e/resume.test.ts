import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import type { Welcome } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { Json } from "#test/contract/api-client.js";
import { AppClient, type AppFraming } from "#test/support/app-client.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ edges: 2, fanouts: 2, env: { HEARTBEAT_INTERVAL: "1s" } });
});

afterAll(() => cluster.stop());

/** Comes back with a token, on an edge. */
async function resume(
  edge: number,
  userId: string,
  given: { framing?: AppFraming; token: string; positions?: Record<string, Position> },
): Promise<AppClient> {
  const client = await AppClient.open({
    url: cluster.socketUrl(edge),
    token: await cluster.token(userId, "customer"),
    framing: given.framing ?? "json",
    resume: true,
  });
  client.send({
    $case: "resume",
    value: { resumeToken: given.token, positions: given.positions ?? {} },
  });
  return client;
}

/** A customer of an order of their own, who follows it at edge 0. */
async function following(name: string, framing: AppFraming = "json") {
  const orderId = `order-${name}`;
  const userId = `customer-${name}`;
  await cluster.grant(orderId, { [userId]: "OWNER" });
  const client = await cluster.connect(0, userId, "customer", { framing });
  await client.subscribe(`order:${orderId}`);
  const welcome = await client.welcome();
  let last = 0;
  const publish = async (count: number): Promise<void> => {
    const items = Array.from({ length: count }, (): Json => {
      last += 1;
      return {
        app: cluster.app,
        channel: `order:${orderId}`,
        idempotency_key: `${orderId}-${last}`,
        event: { order_status: { order_id: orderId, status: String(last) } },
      };
    });
    await cluster.api(1).publish(items);
  };
  return { channel: `order:${orderId}`, userId, client, welcome, publish };
}

function statusesAt(client: AppClient, channel: string): readonly string[] {
  return client
    .eventsOf(channel, "orderStatus")
    .map(({ body }) => (body?.$case === "orderStatus" ? body.value.status : ""));
}

function lastPosition(client: AppClient, channel: string): Position {
  const position = client.eventsOf(channel, "orderStatus").at(-1)?.position;
  if (position === undefined) throw new Error(`nothing durable came in ${channel}`);
  return position;
}

async function untilStatuses(client: AppClient, channel: string, count: number): Promise<void> {
  await client.until(() => statusesAt(client, channel).length >= count || undefined, {
    what: `${count} statuses`,
  });
}

describe("a session that is resumed on another edge", () => {
  for (const framing of ["json", "protobuf"] as const) {
    it(`gets what it missed exactly once where it says its positions, before live events (${framing})`, async () => {
      const { channel, userId, client, welcome, publish } = await following(`positions-${framing}`, framing);
      await publish(3);
      await untilStatuses(client, channel, 3);
      const position = lastPosition(client, channel);
      client.websocket.terminate();
      await publish(4);

      const back = await resume(1, userId, {
        framing,
        token: welcome.resumeToken,
        positions: { [channel]: position },
      });
      const again = await back.welcome();
      expect(again).toMatchObject<Partial<Welcome>>({ resumed: true, sessionId: welcome.sessionId });
      expect(again.resumeToken).not.toBe(welcome.resumeToken);
      await publish(2);
      await untilStatuses(back, channel, 6);
      expect(statusesAt(back, channel)).toEqual(["4", "5", "6", "7", "8", "9"]);
      const subscribed = back.frames.flatMap(({ body }) =>
        body?.$case === "subscribed" ? [body.value] : [],
      );
      expect(subscribed.map((each) => [each.channel, each.recovered])).toEqual(
        expect.arrayContaining([
          [channel, true],
          [`user:${userId}`, true],
        ]),
      );
      await back.close();
    });
  }

  it("gets everything at least once, with the ids of before, where it says no positions", async () => {
    const { channel, userId, client, welcome, publish } = await following("no-positions");
    await publish(5);
    await untilStatuses(client, channel, 5);
    const ids = client.eventsOf(channel, "orderStatus").map(({ id }) => id);
    client.websocket.terminate();
    await publish(3);

    const back = await resume(1, userId, { token: welcome.resumeToken });
    expect(await back.welcome()).toMatchObject({ resumed: true });
    await back.until(() => statusesAt(back, channel).at(-1) === "8" || undefined, { what: "status 8" });
    const seen = statusesAt(back, channel);
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, index) => String(9 - seen.length + index)));
    expect(seen.length).toBeGreaterThanOrEqual(3);
    for (const [index, event] of back.eventsOf(channel, "orderStatus").entries()) {
      const number = Number(seen[index]);
      if (number <= 5) expect(event.id).toBe(ids[number - 1]);
    }
    await back.close();
  });

  it("does not get again what a heartbeat confirmed", async () => {
    const { channel, userId, client, welcome, publish } = await following("confirmed");
    await publish(5);
    await untilStatuses(client, channel, 5);
    // Two rounds of pings, each answered by the client's WebSocket.
    for (let round = 1; round <= 3; round += 1) {
      await new Promise((resolve) => client.websocket.once("ping", resolve));
    }
    // What was confirmed with the last but one is saved by the time of the last.
    client.websocket.terminate();
    await publish(1);

    const back = await resume(1, userId, { token: welcome.resumeToken });
    await back.until(() => statusesAt(back, channel).at(-1) === "6" || undefined, { what: "status 6" });
    expect(statusesAt(back, channel)).toEqual(["6"]);
    await back.close();
  });

  it("closes the connection that it replaces, which is told not to come back", async () => {
    const { userId, client, welcome } = await following("replaced");
    const back = await resume(1, userId, { token: welcome.resumeToken });
    expect(await back.welcome()).toMatchObject({ resumed: true });
    expect(await client.closed).toMatchObject({ code: CloseCode.REPLACED });
    await back.close();
  });

  it("is a new session where the token is another user's, or was used up", async () => {
    const { userId, client, welcome } = await following("refused");
    client.websocket.terminate();
    const stranger = await resume(0, "stranger", { token: welcome.resumeToken });
    const refusal = await stranger.body("error");
    expect(refusal.code).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    expect(await stranger.welcome()).toMatchObject({ resumed: false, userId: "stranger" });

    const back = await resume(1, userId, { token: welcome.resumeToken });
    const next = await back.welcome();
    // A pong behind the welcome shows that the client has the next token. That of the last but one is here by the last.
    for (let round = 1; round <= 3; round += 1) {
      await new Promise((resolve) => back.websocket.once("ping", resolve));
    }
    back.websocket.terminate();
    const third = await resume(0, userId, { token: next.resumeToken });
    expect(await third.welcome()).toMatchObject({ resumed: true });
    const late = await resume(0, userId, { token: welcome.resumeToken });
    expect(await late.body("error")).toMatchObject({ code: ErrorCode.ERROR_CODE_EXPIRED });
    expect(await late.welcome()).toMatchObject({ resumed: false });
    for (const each of [stranger, third, late]) await each.close();
  });
});

describe("a request that is sent again", () => {
  it("has one effect and the same reply, over a reconnect and at another fanout", async () => {
    const { channel, userId, client } = await following("request");
    const value = { channel, type: "note", data: { text: "once" } };
    const frame = { requestId: "r-1" };
    const first = await client.request({ $case: "custom", value }, frame);
    client.websocket.terminate();
    await cluster.fanouts[0]?.kill();
    const again = await cluster.connect(1, userId, "customer");
    const second = await again.request({ $case: "custom", value }, frame);
    expect(first.$case).toBe("reply");
    expect(second).toEqual(first);
    const page = await again.request({
      $case: "history",
      value: { channel, from: undefined, backward: true, limit: 10 },
    });
    expect(page.$case === "historyPage" && page.value.events.map(({ body }) => body?.$case)).toEqual([
      "custom",
    ]);
    await cluster.startFanout(0);
    await again.close();
  });
});
