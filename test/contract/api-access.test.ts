/** Who may call the API, and how the server takes what is no call: tokens, garbage, limits, health, shutdown. */
import { afterEach, describe, expect, it, vi } from "vitest";
import { Client, credentials, Metadata, status } from "@grpc/grpc-js";
import { failed } from "./api-client.js";
import { ApiHarness, TOKEN, type HarnessOptions } from "./api-harness.js";

const PUBLISH = "/realtime.api.v1.PublishService/Publish";
const REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const item = { channel: "order:42", event: { order_status: { order_id: "42", status: "a" } } };

let api: ApiHarness | undefined;
async function start(options: HarnessOptions = {}): Promise<ApiHarness> {
  api = await ApiHarness.start(options);
  return api;
}
afterEach(async () => {
  await api?.stop();
  api = undefined;
});

describe("service tokens", () => {
  it("admit a caller with any of them", async () => {
    const { server } = await start({ serviceTokens: ["old-token", TOKEN] });
    await api?.client({ token: TOKEN }).publish([item]);
    await api?.client({ token: "old-token" }).publish([item]);
    expect(server.counters.publishItems.published).toBe(2);
    expect(server.describeAccess()).toBe("open to callers with a service token, without TLS");
  });

  it.each([
    ["no token", {}],
    ["a wrong token", { authorization: "Bearer wrong" }],
    ["a token that is longer than the right one", { authorization: `Bearer ${TOKEN}x` }],
    ["an empty token", { authorization: "Bearer " }],
    ["another scheme", { authorization: `Basic ${TOKEN}` }],
    ["the token without a scheme", { authorization: TOKEN }],
  ])("keep out a caller with %s", async (_, headers: Record<string, string>) => {
    const { server, log, broker } = await start();
    const error = await failed(api?.client({ token: "" }).publish([item], { headers }) ?? Promise.resolve());
    expect(error).toMatchObject({
      code: status.UNAUTHENTICATED,
      error: { code: "ERROR_CODE_UNAUTHENTICATED" },
    });
    expect(error.trailers.get("x-correlation-id")).toHaveLength(1);
    expect(broker.begun).toHaveLength(0);
    expect(server.counters.callCounts()).toEqual([{ method: "Publish", code: "UNAUTHENTICATED", count: 1 }]);
    expect(JSON.stringify(log)).not.toContain(TOKEN);
  });

  it("are asked for by every method", async () => {
    const client = (await start()).client({ token: "" });
    const methods = [
      ["PublishService", "Publish"],
      ["ParticipationService", "Grant"],
      ["ParticipationService", "End"],
      ["ParticipationService", "ListParticipants"],
      ["ConnectionService", "ListConnections"],
      ["ConnectionService", "Disconnect"],
    ] as const;
    for (const [service, name] of methods) {
      expect(await failed(client.call(service, name, {}))).toMatchObject({ code: status.UNAUTHENTICATED });
    }
  });
});

describe("a server without credentials", () => {
  it("is open to loopback", async () => {
    const { server, client } = await start({ serviceTokens: [] }).then((harness) => ({
      server: harness.server,
      client: harness.client({ token: "" }),
    }));
    await client.publish([item]);
    expect(server.describeAccess()).toBe("open to loopback only, without TLS");
  });

  it.each(["0.0.0.0", "::", "10.1.2.3", "gateway.internal", "127.0.0.1.example.org"])(
    "is refused on %s, naming the variable to set",
    (host) => {
      expect(() => new ApiHarness({ host, serviceTokens: [] })).toThrow(/API_TOKENS/);
    },
  );

  it("is not what an empty token makes", () => {
    expect(() => new ApiHarness({ serviceTokens: [""] })).toThrow(/API_TOKENS/);
  });
});

describe("what is no call", () => {
  it.each([
    ["a truncated message", Buffer.from([0x0a, 0x7f, 0x01])],
    ["random bytes", Buffer.from("ff00ff13374242ffffffffff", "hex")],
    ["objects nested 100 deep", nestedObjects(100)],
    ["a number beyond 2^53", Buffer.from("0a0b30ffffffffffffffffff01", "hex")],
  ])("is INVALID_ARGUMENT: %s", async (_, bytes) => {
    const { broker } = await start();
    const error = await failed(api?.client().send(PUBLISH, bytes, {}) ?? Promise.resolve());
    expect(error).toMatchObject({
      code: status.INVALID_ARGUMENT,
      details: "the request is not a message of this method",
    });
    expect(broker.begun).toHaveLength(0);
    await api?.client().publish([item]);
  });

  it("is RESOURCE_EXHAUSTED beyond the size of a message", async () => {
    await start();
    const error = await failed(
      api?.client().send(PUBLISH, Buffer.alloc(4 * 1024 * 1024 + 1), {}) ?? Promise.resolve(),
    );
    expect(error.code).toBe(status.RESOURCE_EXHAUSTED);
  });

  it("is UNIMPLEMENTED where there is no such method", async () => {
    await start();
    const path = "/realtime.api.v1.PublishService/Destroy";
    const error = await failed(api?.client().send(path, Buffer.alloc(0), {}) ?? Promise.resolve());
    expect(error.code).toBe(status.UNIMPLEMENTED);
  });

  it("ignores fields that the contract does not have", async () => {
    await start();
    const answer = await api
      ?.client()
      .send(PUBLISH, Buffer.from([0xfa, 0x07, 0x01, 0x00]), {})
      .catch(String);
    expect(answer).toContain("1 to 1000");
  });

  it("takes a correlation id that is none for none", async () => {
    const { log } = await start();
    const headers = { "x-correlation-id": "a b <script>" };
    const answer = await api?.client().publish([item], { headers });
    expect(answer?.headers.get("x-correlation-id")).not.toContain("a b <script>");
    expect(JSON.stringify(log)).not.toContain("script");
  });
});

describe("limits", () => {
  it("answer UNAVAILABLE with a retry hint to calls beyond those in flight", async () => {
    const { broker } = await start({ limits: { maxCallsInFlight: 1 } });
    let release = () => {};
    broker.fault = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const client = api?.client();
    const first = client?.publish([item]);
    await vi.waitFor(() => expect(broker.begun).toHaveLength(1));
    expect(await failed(client?.publish([item]) ?? Promise.resolve())).toMatchObject({
      code: status.UNAVAILABLE,
      error: { code: "ERROR_CODE_UNAVAILABLE", retry_after_ms: 1_000 },
    });
    expect(await client?.health()).toBe("SERVING");
    release();
    await first;
    broker.fault = undefined;
    await client?.publish([item]);
  });

  it("end a call that takes longer than any may", async () => {
    const { broker } = await start({ limits: { maxCallMs: 50 } });
    broker.fault = () => new Promise(() => undefined);
    const error = await failed(api?.client().publish([item]) ?? Promise.resolve());
    expect(error).toMatchObject({ code: status.DEADLINE_EXCEEDED, error: { code: "ERROR_CODE_EXPIRED" } });
  });
});

describe("health", () => {
  it("is told without a token, for the server and for each service", async () => {
    const { server } = await start();
    const client = api?.client();
    expect(await client?.health()).toBe("SERVING");
    expect(await client?.health("realtime.api.v1.PublishService")).toBe("SERVING");
    server.setServing(false);
    expect(await client?.health()).toBe("NOT_SERVING");
    expect(await client?.health("realtime.api.v1.ConnectionService")).toBe("NOT_SERVING");
    expect(await failed(client?.health("another") ?? Promise.resolve())).toMatchObject({
      code: status.NOT_FOUND,
    });
  });
});

describe("reflection", () => {
  it("lists the services in development, to callers with a token", async () => {
    const { address } = await start({ reflection: true });
    const names = await reflect(address, TOKEN);
    expect(names).toContain("realtime.api.v1.PublishService");
    expect(names).toContain("realtime.api.v1.ParticipationService");
    expect(names).toContain("realtime.api.v1.ConnectionService");
    await expect(reflect(address, "wrong")).rejects.toMatchObject({ code: status.UNAUTHENTICATED });
  });

  it("is absent otherwise", async () => {
    const { address } = await start();
    await expect(reflect(address, TOKEN)).rejects.toMatchObject({ code: status.UNIMPLEMENTED });
  });
});

describe("stopping", () => {
  it("lets calls in hand finish and takes no new ones", async () => {
    const harness = await start();
    let release = () => {};
    harness.broker.fault = () =>
      new Promise((resolve) => {
        release = resolve;
      });
    const inHand = harness.client().publish([item]);
    await vi.waitFor(() => expect(harness.broker.begun).toHaveLength(1));
    const stopped = harness.server.stop(5_000);
    expect(await failed(harness.client().publish([item], { timeoutMs: 2_000 }))).toMatchObject({
      code: status.UNAVAILABLE,
    });
    release();
    const { response } = await inHand;
    expect(response["results"]).toMatchObject([{ outcome: "PUBLISH_OUTCOME_PUBLISHED" }]);
    await stopped;
  });

  it("does not wait for those who watch the health", async () => {
    const harness = await start();
    const watcher = new Client(harness.address, credentials.createInsecure());
    const ended = new Promise<unknown>((resolve) => {
      const watch = watcher.makeServerStreamRequest(
        "/grpc.health.v1.Health/Watch",
        (bytes: Buffer) => bytes,
        (bytes: Buffer) => bytes,
        Buffer.alloc(0),
        new Metadata(),
        {},
      );
      watch.on("data", () => undefined);
      watch.on("error", resolve);
    });
    await vi.waitFor(() => expect(harness.server.callsInFlight).toBe(1));
    await harness.server.stop(60_000);
    expect(await ended).toMatchObject({ code: status.UNAVAILABLE });
    watcher.close();
  });

  it("cuts what does not finish in time", async () => {
    const harness = await start();
    harness.broker.fault = () => new Promise(() => undefined);
    const inHand = failed(harness.client().publish([item]));
    await vi.waitFor(() => expect(harness.broker.begun).toHaveLength(1));
    await harness.server.stop(50);
    expect((await inHand).code).toBe(status.CANCELLED);
  });
});

/** A PublishRequest whose custom data holds objects within objects, written by hand: encoders would refuse. */
function nestedObjects(depth: number): Buffer {
  const field = (number: number, bytes: Buffer): Buffer => {
    const length: number[] = [];
    for (let rest = bytes.length; ; rest >>>= 7) {
      if (rest < 0x80) {
        length.push(rest);
        break;
      }
      length.push((rest & 0x7f) | 0x80);
    }
    const tag = (number << 3) | 2;
    return Buffer.concat([
      Buffer.from(tag < 0x80 ? [tag] : [(tag & 0x7f) | 0x80, tag >>> 7]),
      Buffer.from(length),
      bytes,
    ]);
  };
  let struct: Buffer = Buffer.alloc(0);
  for (let level = 0; level < depth; level += 1) {
    struct = field(1, Buffer.concat([field(1, Buffer.from("a")), field(2, field(5, struct))]));
  }
  const custom = Buffer.concat([field(1, Buffer.from("deep")), field(2, struct)]);
  return field(1, Buffer.concat([field(2, Buffer.from("order:42")), field(4, field(34, custom))]));
}

/** The names of the services that the server tells by reflection, read as bytes: no reflection client is at hand. */
function reflect(address: string, token: string): Promise<string> {
  const client = new Client(address, credentials.createInsecure());
  const metadata = new Metadata();
  metadata.set("authorization", `Bearer ${token}`);
  return new Promise<string>((resolve, reject) => {
    const stream = client.makeBidiStreamRequest(
      REFLECTION,
      (bytes: Buffer) => bytes,
      (bytes: Buffer) => bytes,
      metadata,
      { deadline: Date.now() + 5_000 },
    );
    stream.on("data", (bytes: Buffer) => {
      resolve(bytes.toString("latin1"));
      stream.end();
    });
    stream.on("error", reject);
    // list_services = 7, any text.
    stream.write(Buffer.from([0x3a, 0x01, 0x2a]));
  }).finally(() => client.close());
}
