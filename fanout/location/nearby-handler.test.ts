import { describe, expect, it } from "vitest";
import { ClientFrame, Nearby } from "#proto/gen/realtime/client/v1/client_frame.js";
import { rememberedSession } from "#test/support/remembered-session.js";
import type { FrameResult } from "#fanout/session/frame-handler.js";
import { nearbyHandler } from "./nearby-handler.js";
import type { NearbyRequest } from "./nearby-workers.js";

const asked: NearbyRequest[] = [];
const handler = nearbyHandler({
  find: async (request) => {
    asked.push(request);
    return { workers: [], truncated: false };
  },
});

async function ask(role: string, body: Partial<Nearby>): Promise<FrameResult> {
  const { session } = rememberedSession({ handle: () => undefined, principal: { role } });
  const context = {
    session,
    frame: ClientFrame.fromPartial({}),
    receivedAtUs: 1,
    correlationId: "",
    requestKey: "",
    answer: () => undefined,
  };
  return handler(context, Nearby.fromPartial(body));
}

const HERE = { latitude: 1, longitude: 2, radiusMeters: 500 };

describe("who is nearby", () => {
  it("is told to admins, of their own app", async () => {
    expect(await ask("admin", { ...HERE, availableOnly: true, limit: 3 })).toEqual({
      $case: "nearbyPage",
      value: { workers: [], truncated: false },
    });
    expect(asked).toMatchObject([
      {
        ...{ app: "default", center: { latitude: 1, longitude: 2 }, radiusMeters: 500, limit: 3 },
        ...{ isAvailableOnly: true, maxAgeMs: 0 },
      },
    ]);
  });

  it.each(["customer", "porter", "restaurant", "user", "anonymous", ""])(
    "is not told to %j",
    async (role) => {
      await expect(ask(role, HERE)).rejects.toMatchObject({ kind: "permission_denied" });
    },
  );

  it.each<[string, Partial<Nearby>]>([
    ["latitude", { ...HERE, latitude: undefined }],
    ["longitude", { ...HERE, longitude: -180.5 }],
    ["radius_meters", { ...HERE, radiusMeters: 0 }],
    ["limit", { ...HERE, limit: 101 }],
    ["max_age_ms", { ...HERE, maxAgeMs: -1 }],
  ])("needs a right %s", async (field, body) => {
    await expect(ask("admin", body)).rejects.toMatchObject({
      kind: "invalid_argument",
      field: `nearby.${field}`,
    });
  });
});
