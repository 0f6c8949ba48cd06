import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { ClientFrame } from "#proto/gen/realtime/client/v1/client_frame.js";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { AppClient, AppFraming } from "#test/support/app-client.js";
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
const UNSUPPORTED = ErrorCode.ERROR_CODE_UNSUPPORTED;

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

/** Of the ping behind a bad frame. */
const LAST_ID = 4_000_000_000;

/** Sends what is no proper frame; resolves with the error that comes, once a later ping is answered. */
async function errorFor(client: AppClient, data: string | Buffer) {
  const first = client.frames.length;
  client.sendRaw(data);
  const pong = await client.request({ $case: "ping", value: { clientTimeMs: 0 } }, { id: LAST_ID });
  expect(pong.$case).toBe("pong");
  const answers = client.frames.slice(first).filter(({ body }) => body?.$case !== "event");
  expect(answers).toHaveLength(2);
  const [answer] = answers;
  if (answer?.body?.$case !== "error") throw new Error(`answered with ${answer?.body?.$case ?? "nothing"}`);
  return { replyTo: answer.replyTo, ...answer.body.value };
}

interface BadFrame {
  readonly what: string;
  readonly data: () => string | Buffer;
  readonly code?: ErrorCode;
  readonly replyTo?: number;
}

const deepJson = (depth: number): string =>
  `{"id":1,"custom":{"data":{"a":${"[".repeat(depth)}${"]".repeat(depth)}}}}`;

const BAD_JSON: readonly BadFrame[] = [
  { what: "nothing", data: () => "" },
  { what: "half a frame", data: () => `{"id":1,"ping":{` },
  { what: "no JSON", data: () => marker },
  { what: "an array", data: () => `[{"id":1}]` },
  { what: "a number", data: () => "1e999" },
  { what: "null", data: () => "null" },
  { what: "JSON nested as deep as fits", data: () => deepJson(32_000) },
  { what: "brackets that nothing closes", data: () => "[".repeat(65_000) },
  { what: "a key __proto__", data: () => `{"id":1,"ping":{},"__proto__":{"x":"${marker}"}}` },
  {
    what: "a key __proto__ deep within",
    data: () => `{"id":1,"custom":{"data":{"a":{"__proto__":{"x":1}}}}}`,
  },
  { what: "__proto__ in escapes", data: () => `{"id":1,"ping":{},"\\u005f_proto\\u005F_":{"x":1}}` },
  { what: "two bodies", data: () => `{"id":1,"ping":{},"availability":{}}`, replyTo: 1 },
  { what: "a body that is null", data: () => `{"id":6,"ping":null}`, replyTo: 6 },
  { what: "a body of a wrong type", data: () => `{"id":7,"subscribe":"${marker}"}`, replyTo: 7 },
  {
    what: "a field of a wrong type",
    data: () => `{"id":"8","subscribe":{"channel":{"${marker}":1}}}`,
    replyTo: 8,
  },
  { what: "an id that is none", data: () => `{"id":-1,"ping":{}}` },
  { what: "an id that is too large", data: () => `{"id":4294967296,"ping":{}}` },
  { what: "half a character", data: () => `{"id":9,"correlationId":"\\ud800","ping":{}}`, replyTo: 9 },
  {
    what: "a number that is too large",
    data: () => `{"id":9,"ping":{"clientTimeMs":"9223372036854775808"}}`,
    replyTo: 9,
  },
  { what: "no body", data: () => `{"id":5}`, replyTo: 5 },
  {
    what: "an unknown body",
    data: () => `{"id":4,"teleport":{"to":"${marker}"}}`,
    code: UNSUPPORTED,
    replyTo: 4,
  },
];

/** Structs within lists within structs, as deep as 64 KiB allow. */
function deepProtobuf(): Buffer {
  const wrap = (tag: number, inner: Buffer): Buffer => {
    const length: number[] = [];
    for (let rest = inner.length; ; rest = Math.floor(rest / 128)) {
      length.push(rest >= 128 ? (rest % 128) | 0x80 : rest);
      if (rest < 128) break;
    }
    return Buffer.concat([Buffer.from([tag, ...length]), inner]);
  };
  let value: Buffer = Buffer.from([0x08, 0x00]);
  while (value.length < 64_000) value = wrap(0x32, wrap(0x0a, value));
  const entry = wrap(0x0a, Buffer.concat([Buffer.from([0x0a, 0x01, 0x61]), wrap(0x12, value)]));
  return Buffer.concat([Buffer.from([0x08, 0x03]), withTag(25, wrap(0x1a, entry))]);
}

/** A length-delimited field of a number above 15. */
function withTag(field: number, inner: Buffer): Buffer {
  const tag = field * 8 + 2;
  const length = [
    (inner.length % 128) | 0x80,
    (Math.floor(inner.length / 128) % 128) | 0x80,
    Math.floor(inner.length / 16_384),
  ];
  return Buffer.concat([Buffer.from([(tag % 128) | 0x80, Math.floor(tag / 128), ...length]), inner]);
}

const ping = Buffer.from(
  ClientFrame.encode({
    ...ClientFrame.fromPartial({ id: 3, correlationId: "a correlation id" }),
    body: { $case: "ping", value: { clientTimeMs: 1 } },
  }).finish(),
);

const BAD_PROTOBUF: readonly BadFrame[] = [
  { what: "nothing", data: () => Buffer.alloc(0) },
  { what: "half a frame", data: () => ping.subarray(0, 9) },
  { what: "a frame that ends in a number", data: () => Buffer.from([0x08, 0xff]) },
  {
    what: "a length beyond the end",
    data: () => Buffer.from([0x08, 0x01, 0x12, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  },
  {
    what: "noise",
    data: () => Buffer.from(Array.from({ length: 1000 }, (_, index) => (index * 7919 + 31) % 256)),
  },
  { what: "JSON", data: () => Buffer.from(`{"id":1,"ping":{}}`) },
  { what: "groups in groups", data: () => Buffer.alloc(65_000, 0x0b) },
  { what: "field number 0", data: () => Buffer.from([0x00, 0x01, 0x02]) },
  {
    what: "a number that is too large",
    data: () =>
      Buffer.from([0x08, 0x03, 0xd2, 0x01, 0x0a, 0x08, ...Array.from({ length: 8 }, () => 0xff), 0x7f]),
  },
  { what: "no body", data: () => Buffer.from([0x08, 0x05]), replyTo: 5 },
  {
    what: "no body and an unknown field",
    data: () => Buffer.from([0x08, 0x05, 0xf8, 0x3f, 0x01]),
    replyTo: 5,
  },
  {
    what: "an unknown body",
    data: () => Buffer.concat([Buffer.from([0x08, 0x04]), withTag(60, Buffer.from(marker.repeat(5)))]),
    code: UNSUPPORTED,
    replyTo: 4,
  },
];

describe("a frame that cannot be read", () => {
  it.each(BAD_JSON)("in JSON: $what is answered, and the socket lives", async (bad) => {
    const client = await connect("json");
    const error = await errorFor(client, bad.data());
    expect(error).toMatchObject({ code: bad.code ?? INVALID, replyTo: bad.replyTo ?? 0 });
    expect(error.message).not.toContain(marker);
    await client.close();
  });

  it.each(BAD_PROTOBUF)("in protobuf: $what is answered, and the socket lives", async (bad) => {
    const client = await connect("protobuf");
    const error = await errorFor(client, bad.data());
    expect(error).toMatchObject({ code: bad.code ?? INVALID, replyTo: bad.replyTo ?? 0 });
    expect(error.message).not.toContain(marker);
    await client.close();
  });

  it("in JSON nested 100,000 deep is too large, in protobuf as deep as fits is dealt with", async () => {
    const json = await connect("json");
    json.sendRaw(deepJson(100_000));
    expect((await json.closed).code).toBe(1009);
    const protobuf = await connect("protobuf");
    expect([INVALID, UNSUPPORTED]).toContain((await errorFor(protobuf, deepProtobuf())).code);
  });
});

describe.each(FRAMINGS)("a frame of a later release, in %s", (framing) => {
  it("holds fields that nobody knows: they are ignored", async () => {
    const client = await connect(framing);
    const extra = Buffer.concat([ping, Buffer.from([0xf8, 0x3f, 0x01]), withTag(1000, Buffer.from(marker))]);
    client.sendRaw(
      framing === "protobuf"
        ? extra
        : `{"id":3,"ping":{"clientTimeMs":1,"later":[1]},"x":"${marker}","constructor":{"prototype":1}}`,
    );
    expect(await client.answer(3)).toMatchObject({ $case: "pong", value: { clientTimeMs: 1 } });
    await client
      .request({ $case: "unsubscribe", value: { channel: "order:never-followed" } })
      .then((answer) => {
        expect(answer).toMatchObject({ $case: "unsubscribed", value: { channel: "order:never-followed" } });
      });
    await client.close();
  });
});

describe("after all this", () => {
  it("no other socket noticed, no process ended, and no content or session id is in a log", async () => {
    await witness.check();
    for (const service of [...cluster.edges, ...cluster.fanouts]) {
      service.process.assertRunning();
      const log = service.process.output.join("\n");
      expect([marker, ...sessionIds].filter((secret) => log.includes(secret))).toEqual([]);
    }
  });

  it(`memory is back where it was after ${ROUNDS} rounds more`, { timeout: 120_000 }, async () => {
    const services = [...cluster.edges, ...cluster.fanouts];
    const before = await Promise.all(services.map((service) => memory.measure(service)));
    for (const framing of FRAMINGS) {
      const client = await connect(framing);
      for (let round = 0; round < ROUNDS; round += 1) {
        const bad = framing === "json" ? BAD_JSON : BAD_PROTOBUF;
        for (const { data } of bad) client.sendRaw(data());
        await client.request({ $case: "ping", value: { clientTimeMs: 0 } }, { id: LAST_ID });
        client.frames.length = 0;
        client.receivedAtMs.length = 0;
      }
      await client.close();
    }
    const after = await Promise.all(services.map((service) => memory.measure(service)));
    for (const [index, { heapBytes, externalBytes }] of after.entries()) {
      expect(heapBytes - (before[index]?.heapBytes ?? 0)).toBeLessThan(4 * 1024 * 1024);
      expect(externalBytes - (before[index]?.externalBytes ?? 0)).toBeLessThan(4 * 1024 * 1024);
    }
  });
});
