/** The kinds of values: what they read and what they refuse. */
import { describe, expect, test } from "vitest";
import {
  duration,
  hostAndPort,
  integer,
  jsonObject,
  listOf,
  orZero,
  rate,
  size,
  text,
  trueOrFalse,
  url,
  type ValueKind,
} from "./value-kind.js";

const read = <T>(kind: ValueKind<T>, value: string): T | undefined => kind.parse(value, () => "");

describe("a duration", () => {
  const kind = duration({ min: "100ms", max: "1h" });
  test.each([
    ["500ms", 500],
    ["30s", 30_000],
    ["5m", 300_000],
    ["1h", 3_600_000],
  ])("of %s is %d ms", (value, expected) => expect(read(kind, value)).toBe(expected));

  test.each(["30", "s", "1.5s", "-1s", "99ms", "2h", "30 s", "30S", "1constructor"])("is not %j", (value) =>
    expect(read(kind, value)).toBeUndefined(),
  );
});

describe("a size", () => {
  const kind = size({ min: "1KiB", max: "1GiB" });
  test.each([
    ["65536", 65_536],
    ["2048B", 2048],
    ["64KiB", 65_536],
    ["1MiB", 1_048_576],
    ["1GiB", 1_073_741_824],
  ])("of %s is %d bytes", (value, expected) => expect(read(kind, value)).toBe(expected));

  test.each(["64kb", "1MB", "1023", "2GiB", "", "1.5MiB"])("is not %j", (value) =>
    expect(read(kind, value)).toBeUndefined(),
  );
});

describe("a rate", () => {
  test.each([
    ["100/60s", { count: 100, windowMs: 60_000 }],
    ["1/1d", { count: 1, windowMs: 86_400_000 }],
    ["1000000000/1s", { count: 1_000_000_000, windowMs: 1000 }],
  ])("of %s is %j", (value, expected) => expect(read(rate, value)).toEqual(expected));

  test.each([
    "off",
    "0",
    "0/60s",
    "100",
    "100/",
    "/60s",
    "100/60",
    "100/0s",
    "100/999ms",
    "1/2d",
    "1.5/1s",
    "-1/1s",
    "2000000000/1s",
  ])("is not %j", (value) => expect(read(rate, value)).toBeUndefined());
});

describe("an address", () => {
  test.each([
    ["fanout-0.fanout:50052", { host: "fanout-0.fanout", port: 50_052 }],
    ["10.0.0.1:1", { host: "10.0.0.1", port: 1 }],
    ["[2001:db8::1]:443", { host: "2001:db8::1", port: 443 }],
  ])("is %s", (value, expected) => expect(read(hostAndPort, value)).toEqual(expected));

  test.each(["fanout", "fanout:", ":1", "fanout:0", "fanout:65536", "2001:db8::1:443", "a b:1"])(
    "is not %j",
    (value) => expect(read(hostAndPort, value)).toBeUndefined(),
  );
});

test("a duration that may be off is so by 0 in any unit, and else keeps to its bounds", () => {
  const kind = orZero(duration({ min: "10s", max: "30d" }));
  expect(["0", "0s", "0h", "10s", "1h"].map((value) => read(kind, value))).toEqual([
    0, 0, 0, 10_000, 3_600_000,
  ]);
  expect(["9s", "31d", "10", "00", "off", "-1s", "0.5h"].map((value) => read(kind, value))).toEqual(
    Array(7).fill(undefined),
  );
});

test("true and false have their usual spellings and no others", () => {
  expect(["true", "1", "yes", "on", "TRUE"].map((value) => read(trueOrFalse, value))).toEqual(
    Array(5).fill(true),
  );
  expect(["false", "0", "no", "off"].map((value) => read(trueOrFalse, value))).toEqual(Array(4).fill(false));
  expect(read(trueOrFalse, "maybe")).toBeUndefined();
});

test("a number keeps to its bounds", () => {
  const kind = integer({ min: 1, max: 10 });
  expect([read(kind, "1"), read(kind, "10")]).toEqual([1, 10]);
  expect(["0", "11", "1.0", "1e1", "0x1", "ten"].map((value) => read(kind, value))).toEqual(
    Array(6).fill(undefined),
  );
});

test("a list has no empty places", () => {
  expect(read(listOf(text(), ""), "a, b")).toEqual(["a", "b"]);
  expect(read(listOf(text(), ""), "a,,b")).toBeUndefined();
});

test("a URL has one of the schemes", () => {
  expect(read(url("redis", "rediss"), "rediss://r:1")).toBe("rediss://r:1");
  expect(read(url("redis", "rediss"), "http://r")).toBeUndefined();
  expect(read(url("redis"), "redis:")).toBeUndefined();
});

test("JSON for claims is an object", () => {
  expect(read(jsonObject, '{"a":1}')).toEqual({ a: 1 });
  expect(["[1]", "null", "1", "{"].map((value) => read(jsonObject, value))).toEqual(Array(4).fill(undefined));
});
