import { describe, expect, it } from "vitest";
import { Admission, type AdmissionLimits } from "./admission.js";
import type { ConnectionSlot } from "./connection-slot.js";
import { OriginList } from "./origin.js";

const WIDE: AdmissionLimits = {
  maxConnections: 1_000_000,
  maxPendingHandshakes: 1_000_000,
  handshakesPerSecond: 1_000_000,
  handshakeBurst: 1_000_000,
  connectionsPerAddress: 1_000_000,
  pendingHandshakesPerAddress: 1_000_000,
  handshakesPerSecondPerAddress: 1_000_000,
  handshakeBurstPerAddress: 1_000_000,
  maxWaitingHandshakes: 0,
  maxWaitMs: 10_000,
  maxIdleAddresses: 1000,
  minRetryMs: 1000,
  retrySpreadMs: 4000,
};

/** An admission whose only tight limits are the test's, with a clock that the test turns. */
class Gate {
  nowMs = 0;
  readonly admission: Admission;

  constructor(limits: Partial<AdmissionLimits>, random = () => 0) {
    this.admission = new Admission({
      origins: new OriginList(["https://app.example.com"]),
      limits: { ...WIDE, ...limits },
      random,
    });
  }

  decide(address = "192.0.2.1", origin?: string) {
    return this.admission.admit({ address, origin, nowMs: this.nowMs });
  }

  admit(address?: string): ConnectionSlot {
    const decision = this.decide(address);
    if (!decision.admitted) throw new Error(`not admitted: ${JSON.stringify(decision)}`);
    return decision.slot;
  }

  open(address?: string): ConnectionSlot {
    const slot = this.admit(address);
    slot.opened();
    return slot;
  }
}

describe("Admission", () => {
  it("refuses foreign origins for good, and admits apps that send none", () => {
    const gate = new Gate({});
    expect(gate.decide("192.0.2.1", "https://evil.example")).toEqual({
      admitted: false,
      reason: "origin",
      status: 403,
      retryAfterMs: 0,
    });
    expect(gate.decide("192.0.2.1", "https://app.example.com").admitted).toBe(true);
    expect(gate.decide("192.0.2.1", undefined).admitted).toBe(true);
  });

  it("holds no more sockets than its maximum, those in their handshake included", () => {
    const gate = new Gate({ maxConnections: 3 });
    gate.open("192.0.2.1");
    gate.open("192.0.2.2");
    const pending = gate.admit("192.0.2.3");
    expect(gate.decide("192.0.2.4")).toMatchObject({
      reason: "connections",
      status: 503,
      retryAfterMs: 1000,
    });
    pending.closed();
    gate.open("192.0.2.4");
    expect(gate.admission.occupancy).toEqual({ connections: 3, pendingHandshakes: 0 });
  });

  it("bounds the handshakes under way, for the edge and for an address", () => {
    const gate = new Gate({ maxPendingHandshakes: 3, pendingHandshakesPerAddress: 2 });
    const slot = gate.admit("192.0.2.1");
    gate.admit("192.0.2.1");
    expect(gate.decide("192.0.2.1")).toMatchObject({ reason: "address_pending_handshakes", status: 429 });
    gate.admit("192.0.2.2");
    expect(gate.decide("192.0.2.3")).toMatchObject({ reason: "pending_handshakes", status: 503 });
    slot.opened();
    expect(gate.decide("192.0.2.1").admitted).toBe(true);
  });

  it("bounds an address without touching the others", () => {
    const gate = new Gate({ connectionsPerAddress: 2 });
    const slot = gate.open("192.0.2.1");
    gate.admit("192.0.2.1");
    expect(gate.decide("192.0.2.1")).toMatchObject({ reason: "address_connections", status: 429 });
    expect(gate.decide("192.0.2.2").admitted).toBe(true);
    slot.closed();
    expect(gate.decide("192.0.2.1").admitted).toBe(true);
  });

  it("admits the edge's burst at once, then its rate", () => {
    const gate = new Gate({ handshakesPerSecond: 10, handshakeBurst: 3 });
    for (let count = 0; count < 3; count++) gate.open(`192.0.2.${count}`);
    expect(gate.decide("192.0.2.9")).toMatchObject({ reason: "handshake_rate", status: 503 });
    gate.nowMs = 100;
    expect(gate.decide("192.0.2.9").admitted).toBe(true);
    expect(gate.decide("192.0.2.9").admitted).toBe(false);
  });

  it("holds an address to its rate also while all its sockets close at once", () => {
    const gate = new Gate({ handshakesPerSecondPerAddress: 10, handshakeBurstPerAddress: 3 });
    for (let count = 0; count < 3; count++) gate.open("192.0.2.1").closed();
    expect(gate.decide("192.0.2.1")).toMatchObject({ reason: "address_handshake_rate", status: 429 });
    expect(gate.decide("192.0.2.2").admitted).toBe(true);
    gate.nowMs = 100;
    expect(gate.decide("192.0.2.1").admitted).toBe(true);
  });

  it("takes nothing from anybody for a handshake that it refuses", () => {
    const gate = new Gate({ handshakesPerSecond: 1, handshakeBurst: 2, handshakeBurstPerAddress: 1 });
    gate.open("192.0.2.1");
    for (let count = 0; count < 100; count++) expect(gate.decide("192.0.2.1").admitted).toBe(false);
    gate.open("192.0.2.2");
    for (let count = 0; count < 100; count++) {
      expect(gate.decide("192.0.2.3")).toMatchObject({ reason: "handshake_rate" });
    }
    expect(gate.admission.addresses).toBe(2);
    gate.nowMs = 1000;
    gate.open("192.0.2.3");
  });

  it("tells the refused to come back at different times, and never before there can be a place", () => {
    let random = 0;
    const gate = new Gate({ handshakesPerSecond: 0.1, handshakeBurst: 1 }, () => random);
    gate.open();
    expect(gate.decide()).toMatchObject({ retryAfterMs: 10_000 });
    random = 0.5;
    expect(gate.decide()).toMatchObject({ retryAfterMs: 12_000 });
  });

  it("counts each socket's opening and closing once, however often they are reported", () => {
    const gate = new Gate({});
    const opened = gate.admit();
    opened.opened();
    opened.opened();
    expect(gate.admission.occupancy).toEqual({ connections: 1, pendingHandshakes: 0 });
    opened.closed();
    opened.closed();
    opened.opened();
    const failed = gate.admit();
    failed.closed();
    failed.closed();
    expect(gate.admission.occupancy).toEqual({ connections: 0, pendingHandshakes: 0 });
  });

  it("counts refusals by reason", () => {
    const gate = new Gate({ maxConnections: 1 });
    gate.decide("192.0.2.1", "https://evil.example");
    gate.open();
    gate.decide();
    gate.decide();
    expect(gate.admission.refusals).toEqual({
      origin: 1,
      connections: 2,
      pending_handshakes: 0,
      handshake_rate: 0,
      address_connections: 0,
      address_pending_handshakes: 0,
      address_handshake_rate: 0,
    });
  });
});

describe("Admission's memory of addresses", () => {
  const limits = { handshakesPerSecondPerAddress: 1, handshakeBurstPerAddress: 2 };

  it("is bounded: of idle addresses the one used longest ago is forgotten first", () => {
    const gate = new Gate({ ...limits, maxIdleAddresses: 2 });
    for (const address of ["a", "b", "b", "a", "c"]) gate.open(address).closed();
    expect(gate.admission.addresses).toBe(2);
    expect(gate.decide("a")).toMatchObject({ reason: "address_handshake_rate" });
    expect(gate.decide("b").admitted).toBe(true);
    for (let index = 0; index < 1000; index++) gate.open(`flood-${index}`).closed();
    expect(gate.admission.addresses).toBe(3);
  });

  it("never forgets an address that holds a socket", () => {
    const gate = new Gate({ ...limits, maxIdleAddresses: 2, connectionsPerAddress: 1 });
    gate.open("holder");
    for (let index = 0; index < 1000; index++) gate.open(`flood-${index}`).closed();
    expect(gate.decide("holder")).toMatchObject({ reason: "address_connections" });
  });

  it("never forgets an address of which one socket of several is gone", () => {
    const gate = new Gate({ maxIdleAddresses: 2, connectionsPerAddress: 2 });
    gate.open("holder");
    gate.open("holder").closed();
    for (let index = 0; index < 1000; index++) gate.open(`flood-${index}`).closed();
    gate.open("holder");
    expect(gate.decide("holder")).toMatchObject({ reason: "address_connections" });
  });

  it("shrinks by itself once the buckets of idle addresses are full again", () => {
    const gate = new Gate(limits);
    for (let index = 0; index < 100; index++) gate.open(`192.0.2.${index}`).closed();
    expect(gate.admission.addresses).toBe(100);
    gate.nowMs = 1999;
    gate.open("198.51.100.1");
    expect(gate.admission.addresses).toBe(101);
    gate.nowMs = 2000;
    for (let count = 0; count < 25; count++) gate.decide("198.51.100.1");
    expect(gate.admission.addresses).toBe(1);
  });

  it("does not make an address new by forgetting it early", () => {
    const gate = new Gate({ ...limits, handshakeBurstPerAddress: 10 });
    for (let count = 0; count < 10; count++) gate.open("a").closed();
    for (gate.nowMs = 0; gate.nowMs < 1000; gate.nowMs += 50) {
      expect(gate.decide("a")).toMatchObject({ reason: "address_handshake_rate" });
    }
  });
});
