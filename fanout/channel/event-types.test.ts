import { describe, expect, it } from "vitest";
import { location, status } from "#test/support/fanout-core.js";
import { conflationKey, EVENT_TYPES, versionSubject, type EventBody } from "./event-types.js";

describe("event types", () => {
  it("have the delivery class that the design names", () => {
    const of = (name: string): string[] =>
      Object.entries(EVENT_TYPES).flatMap(([type, { deliveryClass }]) =>
        deliveryClass === name ? [type] : [],
      );
    expect(of("latest")).toEqual(["location", "eta", "receipt", "presence", "unread", "notificationsSeen"]);
    expect(of("ephemeral")).toEqual(["typing", "membership"]);
    expect(of("durable")).toContain("orderStatus");
  });

  it("of workers, subjects and users replace their own values alone", () => {
    expect(conflationKey(location("p1", 1))).toBe("location:p1");
    expect(conflationKey(location("p2", 1))).not.toBe(conflationKey(location("p1", 1)));
    const eta = { $case: "eta", value: { subjectId: "s1" } } as EventBody;
    expect(conflationKey(eta)).toBe("eta:s1");
  });

  it("count the versions of each order apart", () => {
    const first = status("any");
    if (first.$case !== "orderStatus") throw new Error("a status");
    const second = { ...first, value: { ...first.value, orderId: "43" } };
    expect(versionSubject(first)).toBe("orderStatus:42");
    expect(versionSubject(second)).toBe("orderStatus:43");
  });
});
