import { describe, expect, it } from "vitest";
import { metersBetween } from "./distance.js";

describe("a distance", () => {
  it.each([
    ["a degree of latitude", { latitude: 0, longitude: 0 }, { latitude: 1, longitude: 0 }, 111_195],
    [
      "a degree of longitude at 60 north",
      { latitude: 60, longitude: 0 },
      { latitude: 60, longitude: 1 },
      55_597,
    ],
    ["over the date line", { latitude: 0, longitude: 179.9 }, { latitude: 0, longitude: -179.9 }, 22_239],
    ["half around", { latitude: 0, longitude: 0 }, { latitude: 0, longitude: 180 }, 20_015_115],
    ["none", { latitude: 52.5, longitude: 13.4 }, { latitude: 52.5, longitude: 13.4 }, 0],
  ])("is right for %s", (_, from, to, meters) => {
    expect(Math.abs(metersBetween(from, to) - meters)).toBeLessThan(1 + meters / 10_000);
    expect(metersBetween(to, from)).toBe(metersBetween(from, to));
  });
});
