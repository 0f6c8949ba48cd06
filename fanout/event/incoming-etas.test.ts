import { expect, it } from "vitest";
import type { CheckedEnvelope } from "./envelope.js";
import { meaningOf, type Action } from "./incoming-events.js";

const NOW_MS = Date.parse("2026-02-17T10:30:00Z");
const OCCURRED_MS = NOW_MS - 1_000;

function actionsOf(
  type: string,
  data: Record<string, unknown>,
  more: Partial<CheckedEnvelope> = {},
): readonly Action[] {
  const said = { eventId: "e1", type, occurredAtMs: OCCURRED_MS, correlationId: "", traceparent: "" };
  const meaning = meaningOf({ ...said, app: "default", version: 0, data, ...more }, NOW_MS);
  if (meaning.outcome !== "actions") throw new Error(`actions were expected, it was ${meaning.outcome}`);
  return meaning.actions;
}

it("takes an ETA for the newest by when it was said, or by its version, and never from the future", () => {
  const data = { orderId: "42", etaSeconds: 420, distanceMeters: 1_300 };
  const value = { subjectId: "42", seconds: 420, distanceMeters: 1_300 };
  expect(actionsOf("order.eta.updated", data)).toMatchObject([
    {
      ...{ type: "publish", channel: { name: "order:42" }, version: OCCURRED_MS * 1000 },
      event: { body: { $case: "eta", value } },
    },
  ]);
  const versions = [
    { occurredAtMs: NOW_MS + 60_000 },
    { occurredAtMs: NOW_MS + 60_000, version: 7 },
    { occurredAtMs: 0 },
  ].map((more) => {
    const [action] = actionsOf("ride.eta.updated", { rideId: "7", etaSeconds: 0 }, more);
    return action?.type === "publish" ? action.version : "nothing";
  });
  expect(versions).toEqual([NOW_MS * 1000, 7, undefined]);
  for (const etaSeconds of [undefined, -1, 1.5, "7", 2 ** 32]) {
    expect(() => actionsOf("order.eta.updated", { orderId: "42", etaSeconds })).toThrow("data.etaSeconds");
  }
});
