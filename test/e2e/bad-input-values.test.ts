import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { AppClient, AppFraming } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import { Cluster } from "./cluster.js";
import { ProcessMemory } from "./process-memory.js";
import { Witness } from "./witness.js";

/** `LONG_TESTS=1`: so many that a leak of a few bytes for each frame shows. */
const ROUNDS = process.env["LONG_TESTS"] === "1" ? 50 : 15;
const memory = new ProcessMemory();
let cluster: Cluster;
let witness: Witness;
/** What frames hold here; no log and no answer may quote it. */
const marker = `secret${randomUUID().replaceAll("-", "")}`;
const sessionIds: string[] = [];
const FRAMINGS: readonly AppFraming[] = ["json", "protobuf"];

const INVALID = ErrorCode.ERROR_CODE_INVALID_ARGUMENT;
const DENIED = ErrorCode.ERROR_CODE_PERMISSION_DENIED;
const NOT_FOUND = ErrorCode.ERROR_CODE_NOT_FOUND;
const RATE_LIMITED = ErrorCode.ERROR_CODE_RATE_LIMITED;

beforeAll(async () => {
  cluster = await Cluster.start({ edges: 1, fanouts: 1, env: { ...memory.env, LOG_LEVEL: "trace" } });
  witness = await Witness.start(cluster, { follower: 0, porter: 0 });
});

afterAll(async () => {
  await witness.stop();
  await cluster.stop();
  memory.remove();
});

async function connect(framing: AppFraming, role = "porter"): Promise<AppClient> {
  const client = await cluster.connect(0, `mallory-${role}`, role, { framing });
  sessionIds.push((await client.welcome()).sessionId);
  return client;
}

type Body = NonNullable<ClientFrame["body"]>;

const subscribe = (channel: string): Body => ({ $case: "subscribe", value: { channel, after: undefined } });
const location = (values: object): Body => ({
  $case: "locationUpdate",
  value: { latitude: 1, longitude: 2, timestampMs: 0, orderId: "", ...values },
});
const custom = (values: object): Body => ({
  $case: "custom",
  value: { channel: "order:1", type: "noise", data: { [marker]: [marker, { a: null }] }, ...values },
});
const history = (values: object): Body => ({
  $case: "history",
  value: { channel: "order:1", from: undefined, backward: true, limit: 0, ...values },
});
const emptyPing: Body = { $case: "ping", value: { clientTimeMs: 0 } };
const YEAR_MS = 365 * 24 * 3_600_000;

interface BadValue {
  readonly what: string;
  readonly body: () => Body;
  readonly frame?: Partial<Omit<ClientFrame, "body">>;
  readonly code?: ErrorCode;
  readonly field: string;
}

const BAD_IDS = [
  "a:b",
  "{x}",
  "a{b}",
  "a\nb",
  "a\0b",
  "😀",
  "",
  " ",
  "a b",
  "a/b",
  "*",
  "a?",
  "[a]",
  "x".repeat(129),
  "x".repeat(10_000),
];

type ChatSend = Extract<Body, { $case: "chatSend" }>;

function chatSend(more: Partial<ChatSend["value"]>): ChatSend {
  const target = { $case: "channel", value: "order:1" } as const;
  return {
    $case: "chatSend",
    value: { target, content: marker, messageType: "", clientMessageId: "", ...more },
  };
}

const BAD_VALUES: readonly BadValue[] = [
  ...BAD_IDS.flatMap((id): BadValue[] => [
    {
      what: `channel order:${id.slice(0, 20)}`,
      body: () => subscribe(`order:${id}`),
      field: "subscribe.channel",
    },
    {
      what: `accepting the offer ${id.slice(0, 20)}`,
      body: () => ({ $case: "offerAccept", value: { offerId: id } }),
      field: "offer_accept.offer_id",
    },
    {
      what: `rejecting the offer ${id.slice(0, 20)}`,
      body: () => ({ $case: "offerReject", value: { offerId: id, reason: marker } }),
      field: "offer_reject.offer_id",
    },
    {
      what: `unsubscribing order:${id.slice(0, 20)}`,
      body: () => ({ $case: "unsubscribe", value: { channel: `order:${id}` } }),
      field: "unsubscribe.channel",
    },
    {
      what: `publishing in order:${id.slice(0, 20)}`,
      body: () => custom({ channel: `order:${id}` }),
      field: "custom.channel",
    },
    {
      what: `the history of order:${id.slice(0, 20)}`,
      body: () => history({ channel: `order:${id}` }),
      field: "history.channel",
    },
    ...(id === ""
      ? []
      : [
          {
            what: `locating ${id.slice(0, 20)}`,
            body: () => location({ orderId: id }),
            code: DENIED,
            field: "location_update.order_id",
          },
        ]),
  ]),
  ...["", ":", "order", ":x", "__proto__:x", marker].map((channel): BadValue => {
    const code = channel === "__proto__:x" ? NOT_FOUND : INVALID;
    return {
      what: `channel ${channel.slice(0, 9)}`,
      body: () => subscribe(channel),
      code,
      field: "subscribe.channel",
    };
  }),
  {
    what: "the channel of another user",
    body: () => subscribe("user:alice"),
    code: DENIED,
    field: "subscribe.channel",
  },
  {
    what: "an order of others",
    body: () => subscribe(`order:${randomUUID()}`),
    code: DENIED,
    field: "subscribe.channel",
  },
  {
    what: "an unknown kind of channel",
    body: () => subscribe("spaceship:1"),
    code: NOT_FOUND,
    field: "subscribe.channel",
  },
  ...[91, -90.001, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY].map(
    (latitude): BadValue => ({
      what: `latitude ${latitude}`,
      body: () => location({ latitude }),
      field: "location_update.latitude",
    }),
  ),
  { what: "longitude 181", body: () => location({ longitude: 181 }), field: "location_update.longitude" },
  { what: "heading 361", body: () => location({ heading: 361 }), field: "location_update.heading" },
  { what: "speed -1", body: () => location({ speed: -1 }), field: "location_update.speed" },
  { what: "accuracy NaN", body: () => location({ accuracy: Number.NaN }), field: "location_update.accuracy" },
  {
    what: "a timestamp a year ahead",
    body: () => location({ timestampMs: Date.now() + YEAR_MS }),
    field: "location_update.timestamp_ms",
  },
  {
    what: "a timestamp before 1970",
    body: () => location({ timestampMs: -1 }),
    field: "location_update.timestamp_ms",
  },
  { what: "publishing where one has no part", body: () => custom({}), code: DENIED, field: "custom.channel" },
  {
    what: "publishing in one's own channel",
    body: () => custom({ channel: "user:mallory-porter" }),
    code: DENIED,
    field: "custom.channel",
  },
  {
    what: "publishing in an unknown kind of channel",
    body: () => custom({ channel: "spaceship:1" }),
    code: NOT_FOUND,
    field: "custom.channel",
  },
  ...["", marker.repeat(2), "a b", "a\nb", "a:b", "é"].map((type): BadValue => ({
    what: `an event of the type ${type.slice(0, 9)}`,
    body: () => custom({ type }),
    field: "custom.type",
  })),
  {
    what: "the history of others",
    body: () => history({ channel: "user:alice" }),
    code: DENIED,
    field: "history.channel",
  },
  {
    what: "a page of 4,294,967,295",
    body: () => history({ limit: 4_294_967_295 }),
    field: "history.limit",
  },
  {
    what: "a correlation id of 129 characters",
    body: () => emptyPing,
    frame: { correlationId: "c".repeat(129) },
    field: "correlation_id",
  },
  {
    what: "a request id of 65 characters",
    body: () => emptyPing,
    frame: { requestId: "r".repeat(65) },
    field: "request_id",
  },
  {
    what: "a traceparent of 65 characters",
    body: () => emptyPing,
    frame: { traceparent: "0".repeat(65) },
    field: "traceparent",
  },
  {
    what: "a message without a target",
    body: () => chatSend({ target: undefined }),
    field: "chat_send.target",
  },
  {
    what: "a message to nobody who can be",
    body: () => chatSend({ target: { $case: "recipientId", value: `${marker}:` } }),
    field: "chat_send.recipient_id",
  },
  {
    what: "a message without content",
    body: () => chatSend({ content: "" }),
    field: "chat_send.content",
  },
  {
    what: "a message of 16 KiB and a byte",
    body: () => chatSend({ content: marker + "x".repeat(16_385 - marker.length) }),
    code: ErrorCode.ERROR_CODE_PAYLOAD_TOO_LARGE,
    field: "chat_send.content",
  },
  {
    what: "a message of a type that is none",
    body: () => chatSend({ messageType: `${marker} ` }),
    field: "chat_send.message_type",
  },
  {
    what: "a message with a line for an id",
    body: () => chatSend({ clientMessageId: `${marker}\n` }),
    field: "chat_send.client_message_id",
  },
  {
    what: "an edit of what is no message",
    body: () => ({ $case: "chatEdit", value: { messageId: marker, content: marker } }),
    field: "chat_edit.message_id",
  },
  {
    what: "a deletion of what is no message",
    body: () => ({ $case: "chatDelete", value: { messageId: marker } }),
    field: "chat_delete.message_id",
  },
  {
    what: "a receipt for what is no message",
    body: () => ({ $case: "receipt", value: { messageId: marker, kind: 1, upTo: true } }),
    field: "receipt.message_id",
  },
  {
    what: "typing to nobody who can be",
    body: () => {
      const target = { $case: "recipientId", value: `${marker}:` } as const;
      return { $case: "typing", value: { target, typing: true } };
    },
    field: "typing.recipient_id",
  },
  {
    what: "what is not read of no channel",
    body: () => ({ $case: "unread", value: { channels: [marker], pageToken: "" } }),
    field: "unread.channels[0]",
  },
];

describe.each(FRAMINGS)("a frame with wrong values, in %s", (framing) => {
  it("is answered with the code and the field, each in its turn, and the socket lives", async () => {
    const client = await connect(framing);
    for (const { what, body, frame, code, field } of BAD_VALUES) {
      const answer = await client.request(body(), frame);
      expect({ what, answer }).toMatchObject({
        what,
        answer: { $case: "error", value: { code: code ?? INVALID, field } },
      });
      expect(JSON.stringify(answer)).not.toContain(marker);
    }
    await client.close();
  });

  it("repeats its id: each is answered; id 0 gets an answer only where it fails", async () => {
    const client = await connect(framing);
    for (let count = 0; count < 3; count += 1) client.send(emptyPing, { id: 77 });
    client.send(location({}), { id: 0 });
    client.send(location({ latitude: 91 }), { id: 0 });
    await client.request(emptyPing, { id: 78 });
    expect(client.frames.filter(({ replyTo }) => replyTo === 77).map(({ body }) => body?.$case)).toEqual([
      "pong",
      "pong",
      "pong",
    ]);
    expect(client.frames.filter(({ replyTo, body }) => replyTo === 0 && body?.$case === "reply")).toEqual([]);
    expect(
      client.frames.filter(({ replyTo, body }) => replyTo === 0 && body?.$case === "error"),
    ).toHaveLength(1);
    await client.close();
  });
});

/** A socket that asks for 300 channels: 256 are followed, one of them its own, and the rest is refused. */
async function askForTooManyChannels(): Promise<void> {
  const client = await connect("protobuf", "admin");
  const ids = Array.from({ length: 300 }, () => client.send(subscribe(`order:${randomUUID()}`)));
  const answers = await Promise.all(ids.map((id) => client.answer(id, 30_000)));
  expect(answers.filter(({ $case }) => $case === "subscribed")).toHaveLength(255);
  const refused = answers.flatMap((answer) => (answer.$case === "error" ? [answer.value.code] : []));
  expect(refused).toEqual(Array.from({ length: 45 }, () => RATE_LIMITED));
  await client.close();
}

describe("after all this", () => {
  it("no other socket noticed, no process ended, and no content or session id is in a log", async () => {
    await witness.check();
    for (const service of [...cluster.edges, ...cluster.fanouts]) {
      service.process.assertRunning();
      const log = service.process.output.join("\n");
      expect([marker, ...sessionIds].filter((secret) => log.includes(secret))).toEqual([]);
    }
  });

  it(
    `a socket follows 256 of 300 channels, which end with it, and memory is back after ${ROUNDS} rounds more`,
    { timeout: 120_000 },
    async () => {
      const [fanout] = cluster.fanouts;
      if (fanout === undefined) throw new Error("no fanout");
      const followed = await cluster.metric(fanout, "realtime_followed_channels");
      const services = [...cluster.edges, ...cluster.fanouts];
      const before = await Promise.all(services.map((service) => memory.measure(service)));
      await askForTooManyChannels();
      for (const framing of FRAMINGS) {
        const client = await connect(framing);
        for (let round = 0; round < ROUNDS; round += 1) {
          for (const { body, frame } of BAD_VALUES) client.send(body(), frame);
          await client.request(emptyPing);
          client.frames.length = 0;
          client.receivedAtMs.length = 0;
        }
        await client.close();
      }
      await waitFor(async () => (await cluster.metric(fanout, "realtime_followed_channels")) <= followed, {
        what: "the channels to be let go",
        timeoutMs: 30_000,
        pollMs: 100,
      });
      const after = await Promise.all(services.map((service) => memory.measure(service)));
      for (const [index, { heapBytes, externalBytes }] of after.entries()) {
        expect(heapBytes - (before[index]?.heapBytes ?? 0)).toBeLessThan(4 * 1024 * 1024);
        expect(externalBytes - (before[index]?.externalBytes ?? 0)).toBeLessThan(4 * 1024 * 1024);
      }
    },
  );
});
