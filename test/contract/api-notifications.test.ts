/** What `realtime.api.v1.NotificationService` promises. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { status } from "@grpc/grpc-js";
import { failed, type Json } from "./api-client.js";
import { ApiHarness, NOW_MS, unavailable } from "./api-harness.js";

let api: ApiHarness;
beforeEach(async () => {
  api = await ApiHarness.start();
});
afterEach(async () => {
  await api.stop();
});

async function notify(...items: readonly Json[]): Promise<readonly Json[]> {
  const { response } = await api.client().call("NotificationService", "Notify", { items });
  return response["results"] as readonly Json[];
}

describe("Notify", () => {
  it("reaches a user, a channel, a role and everyone in one channel each", async () => {
    const results = await notify(
      { user_id: "u1", title: "one", type: "promo", message: "Hello", time_to_live_ms: 60_000 },
      { channel: "order:42", title: "two" },
      { role: "porter", title: "three", notification_id: "n3" },
      { everyone: true, title: "four", app: "food" },
    );
    expect(results.map((each) => [each["outcome"], each["channel"]])).toEqual([
      ["PUBLISH_OUTCOME_PUBLISHED", "user:u1"],
      ["PUBLISH_OUTCOME_PUBLISHED", "order:42"],
      ["PUBLISH_OUTCOME_PUBLISHED", "role:porter"],
      ["PUBLISH_OUTCOME_PUBLISHED", "everyone:all"],
    ]);
    const [event] = await api.broker.eventsIn("user:u1");
    expect(event?.body).toMatchObject({
      $case: "notification",
      value: {
        notificationId: results[0]?.["notification_id"],
        ...{ type: "promo", title: "one", message: "Hello", expiresAtMs: NOW_MS + 60_000 },
      },
    });
    const [third] = await api.broker.eventsIn("role:porter");
    expect(third?.body).toMatchObject({ value: { notificationId: "n3", expiresAtMs: 0 } });
    expect(api.broker.begun).toHaveLength(4);
  });

  it("has one effect and one answer for one key, or one id where there is no key", async () => {
    const keyed = { user_id: "u1", title: "t", idempotency_key: "k1" };
    const named = { user_id: "u1", title: "t", notification_id: "n1" };
    const [first, again, other, otherAgain] = await notify(keyed, keyed, named, named);
    expect(again).toEqual({ ...first, outcome: "PUBLISH_OUTCOME_REPEATED" });
    expect(otherAgain).toEqual({ ...other, outcome: "PUBLISH_OUTCOME_REPEATED" });
    expect(await api.broker.eventsIn("user:u1")).toHaveLength(2);
    await notify({ ...keyed, user_id: "u2" });
    expect(await api.broker.eventsIn("user:u2")).toHaveLength(1);
  });

  it.each<[Json, string]>([
    [{ title: "x" }, "items[0].target"],
    [{ user_id: "a b" }, "items[0].user_id"],
    [{ channel: "order" }, "items[0].channel"],
    [{ role: "a/b" }, "items[0].role"],
    [{ everyone: false }, "items[0].everyone"],
    [{ user_id: "u1", notification_id: "{}" }, "items[0].notification_id"],
    [{ user_id: "u1", title: "x".repeat(1_025) }, "items[0].notification.title"],
    [{ user_id: "u1", type: "x".repeat(129) }, "items[0].notification.type"],
    [{ user_id: "u1", time_to_live_ms: 31 * 86_400_000 }, "items[0].time_to_live_ms"],
    [{ user_id: "u1", idempotency_key: "x".repeat(129) }, "items[0].idempotency_key"],
  ])("refuses %j, and says which field is at fault; other items succeed", async (item, field) => {
    const results = await notify(item, { user_id: "fine" });
    expect(results[0]).toMatchObject({ outcome: "PUBLISH_OUTCOME_FAILED", error: { field }, channel: "" });
    expect(results[1]).toMatchObject({ outcome: "PUBLISH_OUTCOME_PUBLISHED", error: null });
  });

  it("is unavailable as a whole where nothing could be stored, and refuses what is too large or too many", async () => {
    const large = await notify({ user_id: "u1", message: "x".repeat(70_000) });
    expect(large[0]).toMatchObject({ error: { code: "ERROR_CODE_PAYLOAD_TOO_LARGE" } });
    api.broker.fault = () => Promise.reject(unavailable());
    expect((await failed(notify({ user_id: "u1" }))).code).toBe(status.UNAVAILABLE);
    expect((await failed(notify())).code).toBe(status.INVALID_ARGUMENT);
    const many = Array.from({ length: 1_001 }, () => ({ user_id: "u1" }));
    expect((await failed(notify(...many))).code).toBe(status.INVALID_ARGUMENT);
  });
});
