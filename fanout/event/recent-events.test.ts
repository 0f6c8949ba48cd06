import { describe, expect, it } from "vitest";
import { RecentEvents } from "./recent-events.js";

describe("RecentEvents", () => {
  it("remembers as many as it may, and forgets the oldest first", () => {
    const recent = new RecentEvents(2);
    for (const id of ["a", "b", "c"]) recent.add(id);
    expect(["a", "b", "c"].map((id) => recent.has(id))).toEqual([false, true, true]);
  });
});
