/** What `realtime.api.v1` promises about participation and connections. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { status } from "@grpc/grpc-js";
import { CloseCode } from "#proto/close-codes.js";
import { SessionRecord, SignalKind } from "#proto/gen/realtime/store/v1/store.js";
import { failed, type Json } from "./api-client.js";
import { ApiHarness, channel, NOW_MS, unavailable } from "./api-harness.js";

const DAY_MS = 86_400_000;

let api: ApiHarness;
beforeEach(async () => {
  api = await ApiHarness.start();
});
afterEach(async () => {
  await api.stop();
});

const participation = (more: Json = {}): Json => ({
  channel: "order:42",
  user_id: "u1",
  relation: "RELATION_OWNER",
  ...more,
});
const participations = (name: string, items: readonly Json[]) =>
  api.client().call("ParticipationService", name, { participations: items });
const connections = (name: string, request: Json) => api.client().call("ConnectionService", name, request);

async function listed(name: string): Promise<unknown> {
  const { response } = await api
    .client()
    .call("ParticipationService", "ListParticipants", { channel: name, app: "default" });
  return response["participations"];
}

describe("Grant", () => {
  it("lets a user take part for the kind's lifetime where none is given", async () => {
    const { response } = await participations("Grant", [participation()]);
    expect(response["results"]).toEqual([{ error: null }]);
    expect(await listed("order:42")).toEqual([
      {
        app: "default",
        channel: "order:42",
        user_id: "u1",
        relation: "RELATION_OWNER",
        expires_at_ms: NOW_MS + 7 * DAY_MS,
      },
    ]);
  });

  it("keeps the given time and each relation", async () => {
    const relations = ["RELATION_OWNER", "RELATION_ASSIGNED", "RELATION_MEMBER", "RELATION_MERCHANT"];
    await participations(
      "Grant",
      relations.map((relation, index) =>
        participation({ user_id: `u${index}`, relation, expires_at_ms: NOW_MS + 1_000 + index }),
      ),
    );
    expect(await listed("order:42")).toMatchObject(
      relations.map((relation, index) => ({ relation, expires_at_ms: NOW_MS + 1_000 + index })),
    );
  });

  it("signals the channel and the user", async () => {
    await participations("Grant", [participation()]);
    const { SIGNAL_KIND_MEMBERS_CHANGED: kind } = SignalKind;
    expect(api.broker.told).toMatchObject([
      { channel: "default/order:42", signal: { kind } },
      { channel: "default/user:u1", signal: { kind } },
    ]);
  });

  it("changes nothing when repeated, and replaces the relation when another is given", async () => {
    await participations("Grant", [participation(), participation()]);
    await participations("Grant", [participation({ relation: "RELATION_ASSIGNED" })]);
    expect(await listed("order:42")).toMatchObject([{ user_id: "u1", relation: "RELATION_ASSIGNED" }]);
  });

  it.each<[string, Json, string, string]>([
    ["no relation", { relation: "RELATION_UNSPECIFIED" }, "INVALID_ARGUMENT", "relation"],
    ["a relation that is not", { relation: 77 }, "INVALID_ARGUMENT", "relation"],
    ["a time that has passed", { expires_at_ms: NOW_MS }, "INVALID_ARGUMENT", "expires_at_ms"],
    ["a time before 1970", { expires_at_ms: -1 }, "INVALID_ARGUMENT", "expires_at_ms"],
    ["microseconds", { expires_at_ms: NOW_MS * 1_000 }, "INVALID_ARGUMENT", "expires_at_ms"],
    ["no user", { user_id: "" }, "INVALID_ARGUMENT", "user_id"],
    ["a colon in the user id", { user_id: "user:1" }, "INVALID_ARGUMENT", "user_id"],
    ["a kind that is not", { channel: "planet:3" }, "NOT_FOUND", "channel"],
    ["a part that would mean nothing", { channel: "role:porter" }, "INVALID_ARGUMENT", "channel"],
    ["another user's own channel", { channel: "user:u2" }, "INVALID_ARGUMENT", "channel"],
  ])("refuses %s, and grants what stands beside it", async (_, fault, code, field) => {
    const { response } = await participations("Grant", [
      participation(fault),
      participation({ channel: "order:43" }),
    ]);
    expect(response["results"]).toMatchObject([
      { error: { code: `ERROR_CODE_${code}`, field: `participations[0].${field}` } },
      { error: null },
    ]);
    expect(await listed("order:43")).toHaveLength(1);
  });

  it("is UNAVAILABLE as a whole while the directory is away", async () => {
    api.directory.fault = () => {
      throw unavailable();
    };
    expect(await failed(participations("Grant", [participation()]))).toMatchObject({
      code: status.UNAVAILABLE,
    });
  });

  it.each(["Grant", "End"])("refuses 1,001 and none for %s", async (name) => {
    const many = Array.from({ length: 1_001 }, () => participation());
    expect(await failed(participations(name, many))).toMatchObject({ code: status.INVALID_ARGUMENT });
    expect(await failed(participations(name, []))).toMatchObject({ code: status.INVALID_ARGUMENT });
  });
});

describe("End", () => {
  it("ends a part without its relation, and where there was none", async () => {
    await participations("Grant", [participation(), participation({ user_id: "u2" })]);
    const { response } = await participations("End", [
      { channel: "order:42", user_id: "u1" },
      { channel: "order:42", user_id: "nobody" },
    ]);
    expect(response["results"]).toEqual([{ error: null }, { error: null }]);
    expect(await listed("order:42")).toMatchObject([{ user_id: "u2" }]);
  });

  it("follows a grant of the same call", async () => {
    const gone = participation({ user_id: "u1" });
    await participations("Grant", [gone]);
    await participations("End", [gone]);
    expect(await api.directory.participation(channel("order:42"), "u1")).toBeUndefined();
  });
});

describe("ListParticipants", () => {
  it("is empty where nobody takes part", async () => {
    expect(await listed("order:1")).toEqual([]);
  });

  it.each([
    ["not-a-channel", status.INVALID_ARGUMENT],
    ["planet:3", status.NOT_FOUND],
  ])("refuses %s", async (name, code) => {
    expect(await failed(listed(name))).toMatchObject({ code, error: { field: "channel" } });
  });
});

describe("connections", () => {
  const record = (connectionId: string, more: Partial<SessionRecord> = {}) =>
    SessionRecord.fromPartial({
      connectionId,
      sessionId: `s-${connectionId}`,
      app: "default",
      userId: "u1",
      role: "customer",
      deviceId: "phone",
      platform: "ios",
      connectedAtMs: NOW_MS,
      edgeIncarnation: "edge-1",
      fanoutId: "fanout-1",
      ...more,
    });

  it("lists a user's connections as clients described them", async () => {
    api.registry.records.push(record("c1"), record("c2", { deviceId: "", platform: "" }));
    api.registry.records.push(record("c3", { userId: "u2" }), record("c4", { app: "food" }));
    const { response } = await connections("ListConnections", { user_id: "u1" });
    expect(response).toEqual({
      connections: [
        {
          connection_id: "c1",
          session_id: "s-c1",
          role: "customer",
          device_id: "phone",
          platform: "ios",
          connected_at_ms: NOW_MS,
        },
        expect.objectContaining({ connection_id: "c2", device_id: "", platform: "" }),
      ],
    });
  });

  it("lists none for a user who is offline", async () => {
    const { response } = await connections("ListConnections", { user_id: "nobody" });
    expect(response).toEqual({ connections: [] });
  });

  it("closes all of a user's connections by a signal on the user's channel", async () => {
    api.registry.records.push(record("c1"), record("c2"));
    const { response } = await connections("Disconnect", { user_id: "u1" });
    expect(response).toEqual({ connections: 2 });
    expect(api.broker.told).toEqual([
      {
        channel: "default/user:u1",
        signal: {
          kind: SignalKind.SIGNAL_KIND_DISCONNECT,
          connectionId: "",
          closeCode: CloseCode.KICKED,
          reason: "disconnected by a service",
          endsSession: false,
        },
      },
    ]);
  });

  it("closes one connection, with the reason given", async () => {
    api.registry.records.push(record("c1"), record("c2"));
    const request = { user_id: "u1", connection_id: "c2", reason: "signed in elsewhere" };
    const { response } = await connections("Disconnect", request);
    expect(response).toEqual({ connections: 1 });
    expect(api.broker.told).toMatchObject([
      { signal: { connectionId: "c2", reason: "signed in elsewhere" } },
    ]);
  });

  it("tells a user of whom none is known: a socket may have opened this moment", async () => {
    const { response } = await connections("Disconnect", { user_id: "u9" });
    expect(response).toEqual({ connections: 0 });
    expect(api.broker.told).toHaveLength(1);
  });

  it.each<[string, Json, string]>([
    ["ListConnections", {}, "user_id"],
    ["ListConnections", { user_id: "a b" }, "user_id"],
    ["ListConnections", { user_id: "u1", app: "a:b" }, "app"],
    ["Disconnect", {}, "user_id"],
    ["Disconnect", { user_id: "u1", connection_id: "a b" }, "connection_id"],
    ["Disconnect", { user_id: "u1", reason: "ä".repeat(62) }, "reason"],
    ["Disconnect", { user_id: "u1", reason: "two\nlines" }, "reason"],
  ])("%s refuses %j", async (name, request, field) => {
    expect(await failed(connections(name, request))).toMatchObject({
      code: status.INVALID_ARGUMENT,
      error: { field },
    });
    expect(api.broker.told).toHaveLength(0);
  });

  it.each(["ListConnections", "Disconnect"])("%s is UNAVAILABLE while the registry is away", async (name) => {
    api.registry.fault = () => {
      throw unavailable();
    };
    expect(await failed(connections(name, { user_id: "u1" }))).toMatchObject({
      code: status.UNAVAILABLE,
      error: { retry_after_ms: 500 },
    });
    expect(api.broker.told).toHaveLength(0);
  });

  it("says nothing of a fault inside", async () => {
    api.registry.fault = () => {
      throw new TypeError("records is undefined");
    };
    const error = await failed(connections("ListConnections", { user_id: "u1" }));
    expect(error).toMatchObject({ code: status.INTERNAL, error: { code: "ERROR_CODE_INTERNAL" } });
    expect(error.details).not.toContain("records");
  });
});
