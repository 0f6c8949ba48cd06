import { describe, expect, it } from "vitest";
import { commonProtocol, speaks } from "./protocol-version.js";

describe("the link's protocol", () => {
  it("is the highest version that both sides speak", () => {
    expect(commonProtocol({ min: 1, max: 3 }, { min: 2, max: 5 })).toBe(3);
    expect(commonProtocol({ min: 2, max: 5 }, { min: 1, max: 3 })).toBe(3);
    expect(commonProtocol({ min: 2, max: 2 }, { min: 1, max: 2 })).toBe(2);
  });

  it("is none where the ranges do not meet, are upside down, or were not said", () => {
    expect(commonProtocol({ min: 1, max: 1 }, { min: 2, max: 3 })).toBeUndefined();
    expect(commonProtocol({ min: 4, max: 5 }, { min: 2, max: 3 })).toBeUndefined();
    expect(commonProtocol({ min: 1, max: 3 }, { min: 3, max: 1 })).toBeUndefined();
    expect(commonProtocol({ min: 1, max: 1 }, undefined)).toBeUndefined();
  });

  it("may be chosen by the other side only out of our own range", () => {
    expect([0, 1, 2, 3, 4].filter((version) => speaks({ min: 1, max: 3 }, version))).toEqual([1, 2, 3]);
  });
});
