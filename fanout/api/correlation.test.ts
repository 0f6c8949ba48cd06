import { Metadata } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { correlationOf, isTraceparent, stampCorrelation, traceparentOf } from "./correlation.js";

function metadataOf(headers: Readonly<Record<string, string>>): Metadata {
  const metadata = new Metadata();
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value);
  return metadata;
}

describe("the correlation id of a call", () => {
  it("is the caller's where one was given", () => {
    const metadata = metadataOf({ "x-correlation-id": "checkout-7" });
    expect(stampCorrelation(metadata)).toBe("checkout-7");
    expect(correlationOf(metadata)).toEqual({ id: "checkout-7", given: true });
  });

  it.each([{}, { "x-correlation-id": "a b" }, { "x-correlation-id": "x".repeat(129) }])(
    "is made where %j gives none",
    (headers) => {
      const metadata = metadataOf(headers);
      const made = stampCorrelation(metadata);
      expect(made).toMatch(/^[0-9a-f-]{36}$/);
      expect(correlationOf(metadata)).toEqual({ id: made, given: false });
    },
  );

  it("is the caller's though the caller says that it was made", () => {
    const metadata = metadataOf({ "x-correlation-id": "checkout-7", "x-correlation-id-made": "1" });
    stampCorrelation(metadata);
    expect(correlationOf(metadata).given).toBe(true);
  });
});

describe("the trace context of a call", () => {
  const valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

  it("is passed on where it can be read, else there is none", () => {
    expect(traceparentOf(metadataOf({ traceparent: valid }))).toBe(valid);
    expect(traceparentOf(metadataOf({ traceparent: "nonsense" }))).toBe("");
    expect(traceparentOf(metadataOf({}))).toBe("");
  });

  it.each([
    valid.toUpperCase(),
    valid.replace("00-", "ff-"),
    valid.replace(/4bf9\w+/, "0".repeat(32)),
    valid.replace(/00f0\w+/, "0".repeat(16)),
    `${valid}-more`,
  ])("is not %s", (text) => {
    expect(isTraceparent(text)).toBe(false);
  });
});
