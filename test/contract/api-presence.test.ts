import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { channelOf } from "#fanout/channel/channel.js";
import type { ApiClient, Json } from "./api-client.js";
import { ApiHarness } from "./api-harness.js";

let harness: ApiHarness;
let client: ApiClient;

beforeAll(async () => {
  harness = await ApiHarness.start();
  client = harness.client();
  for (const userId of ["u1", "u2", "u3"]) {
    const connection = { app: "default", userId, connectionId: `c-${userId}`, generation: 1, place: "p" };
    await harness.presence.connect(connection);
    await harness.presence.join({
      ...connection,
      channel: channelOf("default", "group", "g1"),
      sessionId: userId,
    });
  }
  await harness.presence.setAvailable({ app: "default", userId: "u2", isAvailable: true, saidAtUs: 1 });
});

afterAll(() => harness.stop());

async function call(method: string, request: Json): Promise<Record<string, unknown>> {
  const { response } = await client.call("PresenceService", method, request);
  return response;
}

const INVALID_ARGUMENT = 3;
const NOT_FOUND = 5;

describe("PresenceService", () => {
  it("says who is online, in the order asked for", async () => {
    const { users } = await call("GetPresence", { user_ids: ["u2", "nobody", "u1"] });
    expect(users).toMatchObject([
      { user_id: "u2", online: true, available: true },
      { user_id: "nobody", online: false, last_seen_ms: 0 },
      { user_id: "u1", online: true },
    ]);
  });

  it("lists the members of a channel page by page, and counts them", async () => {
    const first = await call("ListMembers", { channel: "group:g1", page_size: 2 });
    expect(first).toMatchObject({ users: [{ user_id: "u1" }, { user_id: "u2", available: true }], total: 3 });
    const page_token = first["next_page_token"] as string;
    const second = await call("ListMembers", { channel: "group:g1", page_size: 2, page_token });
    expect(second).toMatchObject({ users: [{ user_id: "u3" }], total: 3, next_page_token: "" });
  });

  it("counts the users of an app", async () => {
    expect(await call("CountOnline", {})).toEqual({ users: 3 });
    expect(await call("CountOnline", { app: "another" })).toEqual({ users: 0 });
  });

  it.each<[string, Json, number]>([
    ["GetPresence", { user_ids: [] }, INVALID_ARGUMENT],
    ["GetPresence", { user_ids: Array.from({ length: 101 }, (_, index) => `u${index}`) }, INVALID_ARGUMENT],
    ["GetPresence", { user_ids: ["not an id"] }, INVALID_ARGUMENT],
    ["ListMembers", { channel: "group:g1", page_size: 101 }, INVALID_ARGUMENT],
    ["ListMembers", { channel: "group:g1", page_token: "{}" }, INVALID_ARGUMENT],
    ["ListMembers", { channel: "user:u1" }, INVALID_ARGUMENT],
    ["ListMembers", { channel: "planet:1" }, NOT_FOUND],
    ["CountOnline", { app: "not an app" }, INVALID_ARGUMENT],
  ])("%s refuses %j", async (method, request, code) => {
    await expect(call(method, request)).rejects.toMatchObject({ code });
  });
});
