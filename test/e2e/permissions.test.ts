/** Permissions that change while sessions live, move and come back, with server-side subscriptions (`follow=own`). */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import { UnsubscribeReason } from "#proto/gen/realtime/client/v1/server_frame.js";
import { signToken } from "#services/token/sign-token.js";
import type { Json } from "#test/contract/api-client.js";
import { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start({ edges: 2, fanouts: 2 });
});

afterAll(() => cluster.stop());

const OWN = { query: { follow: "own" } };
const { UNSUBSCRIBE_REASON_PERMISSION_ENDED: ENDED } = UnsubscribeReason;

type Relation = "OWNER" | "ASSIGNED" | "MEMBER" | "MERCHANT";

async function grant(channel: string, userId: string, relation: Relation = "OWNER", fanout = 1) {
  await change("Grant", { channel, user_id: userId, relation: `RELATION_${relation}` }, fanout);
}

async function end(channel: string, userId: string, fanout = 1): Promise<void> {
  await change("End", { channel, user_id: userId }, fanout);
}

async function change(method: string, participation: Json, fanout: number): Promise<void> {
  const participations = [{ app: cluster.app, ...participation }];
  const { response } = await cluster.api(fanout).call("ParticipationService", method, { participations });
  expect(response["results"]).toMatchObject([{ error: null }]);
}

async function publish(orderId: string, status: string, fanout = 1): Promise<void> {
  const event = { order_status: { order_id: orderId, status } };
  const channel = `order:${orderId}`;
  await cluster
    .api(fanout)
    .publish([{ app: cluster.app, channel, idempotency_key: `${orderId}-${status}`, event }]);
}

/** What a client heard of a channel: "in" ("in, lost" without what was before), each status, and why it is out. */
function heard(client: AppClient, channel: string): readonly string[] {
  return client.frames.flatMap(({ body }) => {
    if (body?.$case === "subscribed" && body.value.channel === channel)
      return body.value.recovered ? "in" : "in, lost";
    if (body?.$case === "unsubscribed" && body.value.channel === channel) return `out ${body.value.reason}`;
    if (body?.$case !== "event" || body.value.channel !== channel) return [];
    if (body.value.body?.$case === "orderStatus") return body.value.body.value.status;
    return body.value.body?.$case === "chatMessage" ? body.value.body.value.content : [];
  });
}

async function untilHeard(client: AppClient, channel: string, ...words: readonly string[]): Promise<void> {
  await client.until(
    () => (words.every((word) => heard(client, channel).includes(word)) ? true : undefined),
    {
      what: `${words.join(", ")} of ${channel}`,
      timeoutMs: 15_000,
    },
  );
}

async function refused(client: AppClient, channel: string): Promise<unknown> {
  const answer = await client.request({ $case: "subscribe", value: { channel, after: undefined } });
  return answer.$case === "error" ? answer.value.code : answer.$case;
}

describe("server-side subscriptions", () => {
  it("begin with the session, whether the handshake or an authenticate frame asks for them", async () => {
    await grant("order:begin", "ann");
    const byQuery = await cluster.connect(0, "ann", "customer", OWN);
    const byFrame = await AppClient.open({ url: cluster.socketUrl(1), framing: "protobuf" });
    const said = { deviceId: "", platform: "", userType: "", resumes: false, followOwn: true };
    const token = await cluster.token("ann", "customer");
    byFrame.send({ $case: "authenticate", value: { token, ...said } });
    const plain = await cluster.connect(1, "ann", "customer");
    for (const client of [byQuery, byFrame]) await untilHeard(client, "order:begin", "in, lost");
    await publish("begin", "cooking");
    for (const client of [byQuery, byFrame]) await untilHeard(client, "order:begin", "cooking");
    expect(heard(plain, "order:begin")).toEqual([]);
    for (const client of [byQuery, byFrame, plain]) await client.close();
  });

  it("have the message that began a conversation", async () => {
    const [writer, reader] = [
      await cluster.connect(0, "bea", "customer"),
      await cluster.connect(1, "cem", "customer", OWN),
    ];
    const send = (content: string) =>
      writer.request({
        $case: "chatSend",
        value: {
          target: { $case: "recipientId", value: "cem" },
          content,
          messageType: "",
          clientMessageId: content,
        },
      });
    const reply = await send("one");
    const channel = reply.$case === "reply" ? (reply.value.channel ?? "") : "";
    expect(channel).toMatch(/^conversation:/);
    await untilHeard(reader, channel, "in", "one");
    await send("two");
    await untilHeard(reader, channel, "two");
    expect(heard(reader, channel)).toEqual(["in", "one", "two"]);
    for (const client of [writer, reader]) await client.close();
  });

  it("go with what is granted and ended while the session lives; who takes no part is denied", async () => {
    const client = await cluster.connect(0, "dag", "porter", OWN);
    expect(await refused(client, "order:shift")).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    await grant("order:shift", "dag", "ASSIGNED", 0);
    await untilHeard(client, "order:shift", "in");
    await end("order:shift", "dag");
    await untilHeard(client, "order:shift", `out ${ENDED}`);
    await publish("shift", "secret");
    await grant("order:next", "dag", "ASSIGNED");
    await untilHeard(client, "order:next", "in");
    expect(heard(client, "order:shift")).toEqual(["in", `out ${ENDED}`]);
    expect(await refused(client, "order:shift")).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    await client.close();
  });

  it("give merchants the orders of the restaurant that their token names", async () => {
    const token = await signToken(
      { sub: "chef", role: "merchant", app: cluster.app, ttlSeconds: 3600, claims: { restaurant: "r1" } },
      { ...DEFAULT_JWT_OPTIONS, secret: cluster.jwtSecret },
    );
    await grant("order:r1-1", "merchant:r1", "MERCHANT");
    await grant("order:r2-1", "merchant:r2", "MERCHANT");
    const client = await cluster.connect(0, "chef", "merchant", { ...OWN, token });
    await untilHeard(client, "order:r1-1", "in, lost");
    await grant("order:r1-2", "merchant:r1", "MERCHANT");
    await untilHeard(client, "order:r1-2", "in");
    await end("order:r1-1", "merchant:r1");
    await untilHeard(client, "order:r1-1", `out ${ENDED}`);
    expect(await refused(client, "order:r2-1")).toBe(ErrorCode.ERROR_CODE_PERMISSION_DENIED);
    await client.close();
  });

  it("are restored by a resume elsewhere, with what changed meanwhile", async () => {
    for (const id of ["kept", "ended"]) await grant(`order:${id}`, "eva");
    const client = await cluster.connect(0, "eva", "customer", OWN);
    for (const id of ["kept", "ended"]) await untilHeard(client, `order:${id}`, "in, lost");
    await publish("kept", "first");
    await untilHeard(client, "order:kept", "first");
    const position = client.eventsOf("order:kept", "orderStatus").at(-1)?.position;
    if (position === undefined) throw new Error("the status has no position");
    const { resumeToken } = await client.welcome();
    client.websocket.terminate();
    await publish("kept", "second");
    await end("order:ended", "eva");
    await grant("order:granted", "eva");
    await publish("granted", "fresh");
    const back = await AppClient.open({
      url: cluster.socketUrl(1),
      token: await cluster.token("eva", "customer"),
      resume: true,
      ...OWN,
    });
    back.send({ $case: "resume", value: { resumeToken, positions: { "order:kept": position } } });
    await untilHeard(back, "order:granted", "in", "fresh");
    expect(await back.welcome()).toMatchObject({ resumed: true });
    expect(heard(back, "order:granted")).toEqual(["in", "fresh"]);
    expect(heard(back, "order:kept")).toEqual(["in", "second"]);
    expect(heard(back, "order:ended")).toEqual([`out ${ENDED}`]);
    await back.close();
  });
});

describe("a fanout that dies", () => {
  it("takes no permission along: its sessions hear what changed, once, at their next homes", async () => {
    const users = Array.from({ length: 8 }, (_, index) => `fay-${index}`);
    const clients: AppClient[] = [];
    for (const [index, user] of users.entries()) {
      for (const id of ["kept", "ended", "left"]) await grant(`order:${user}-${id}`, user);
      const client = await cluster.connect(index % 2, user, "customer", OWN);
      for (const id of ["kept", "ended", "left"]) await untilHeard(client, `order:${user}-${id}`, "in, lost");
      await client.request({ $case: "unsubscribe", value: { channel: `order:${user}-left` } });
      clients.push(client);
    }
    await cluster.fanouts[0]?.kill();
    // While some of them have no home.
    for (const user of users) {
      await end(`order:${user}-ended`, user);
      await grant(`order:${user}-granted`, user);
      for (const id of ["kept", "ended", "granted", "left"]) await publish(`${user}-${id}`, "moved");
    }
    for (const [index, client] of clients.entries()) {
      const user = users[index] ?? "";
      await untilHeard(client, `order:${user}-kept`, "moved");
      await untilHeard(client, `order:${user}-ended`, `out ${ENDED}`);
      await untilHeard(client, `order:${user}-granted`, "in", "moved");
      expect(heard(client, `order:${user}-kept`)).toEqual(["in, lost", "moved"]);
      expect(heard(client, `order:${user}-ended`)).toEqual(["in, lost", `out ${ENDED}`]);
      expect(heard(client, `order:${user}-granted`)).toEqual(["in", "moved"]);
      expect(heard(client, `order:${user}-left`)[1]).toMatch(/^out/);
      expect(heard(client, `order:${user}-left`)).toHaveLength(2);
      expect(client.closedWith).toBeUndefined();
    }
    await cluster.startFanout(0);
    await waitFor(async () => (await cluster.readyLinks()).every((links) => links === 2), {
      what: "all links again",
      timeoutMs: 20_000,
    });
    // Wherever a session lives now, on a new home or the old one.
    for (const [index, client] of clients.entries()) {
      const user = users[index] ?? "";
      await grant(`order:${user}-later`, user, "OWNER", 0);
      await untilHeard(client, `order:${user}-later`, "in");
      await client.close();
    }
  });
});
