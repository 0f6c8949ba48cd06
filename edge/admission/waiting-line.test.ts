import { describe, expect, it } from "vitest";
import { Admission, type AdmissionLimits } from "./admission.js";
import type { ConnectionSlot } from "./connection-slot.js";
import { OriginList } from "./origin.js";
import type { WaitingPlace } from "./waiting-line.js";

const LIMITS: Partial<AdmissionLimits> = {
  handshakesPerSecond: 10,
  handshakeBurst: 1,
  handshakesPerSecondPerAddress: 1_000_000,
  handshakeBurstPerAddress: 1_000_000,
  maxWaitingHandshakes: 50,
  maxWaitMs: 10_000,
};

/** Handshakes by name at an admission whose clock the test turns. */
class Door {
  nowMs = 0;
  readonly admission: Admission;
  readonly in: string[] = [];
  readonly refused: string[] = [];
  readonly slots: ConnectionSlot[] = [];
  readonly #names = new Map<WaitingPlace, string>();

  constructor(limits: Partial<AdmissionLimits> = {}) {
    const origins = new OriginList(["https://app.example.com"]);
    this.admission = new Admission({ origins, limits: { ...LIMITS, ...limits }, random: () => 0 });
  }

  /** "in", "waits", or why it was refused. */
  come(name: string, address = name, origin?: string): string {
    const decision = this.admission.admit({ address, origin, nowMs: this.nowMs });
    if (decision.admitted) {
      this.slots.push(decision.slot);
      this.in.push(name);
      return "in";
    }
    if (!("place" in decision)) return decision.reason;
    this.#names.set(decision.place, name);
    return "waits";
  }

  leave(name: string): void {
    for (const [place, each] of this.#names) if (each === name) this.admission.giveUp(place);
  }

  /** Time passes in steps, with a look at the line after each; tenths of tokens would add up to a little less. */
  pass(durationMs: number, stepMs = 25): void {
    for (const endMs = this.nowMs + durationMs; this.nowMs < endMs;) {
      this.nowMs += stepMs;
      for (const { place, decision } of this.admission.turns(this.nowMs)) {
        const name = this.#names.get(place) ?? "?";
        if (decision.admitted) {
          this.slots.push(decision.slot);
          this.in.push(name);
        } else this.refused.push(`${name} ${decision.reason} ${decision.status} ${decision.retryAfterMs}`);
      }
    }
  }
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `h${index}`);

describe("a storm of handshakes", () => {
  it("is let in at the rate, in the order in which it came, and nobody is dropped", () => {
    const door = new Door();
    expect(names(50).map((name) => door.come(name))).toEqual(["in", ...Array<string>(49).fill("waits")]);
    door.pass(1000);
    expect(door.in).toHaveLength(11);
    door.pass(4000);
    expect(door.in).toEqual(names(50));
    expect(door.admission.waiting).toBe(0);
    expect(door.admission.nextTurnMs).toBeUndefined();
  });

  it("goes before who comes later, also where there is a token again that nobody has taken yet", () => {
    const door = new Door();
    for (const name of ["first", "second"]) door.come(name);
    door.nowMs = 100;
    expect(door.come("late")).toBe("waits");
    door.pass(200);
    expect(door.in).toEqual(["first", "second", "late"]);
  });

  it("says when to look for the next turn, and then there is one", () => {
    const door = new Door();
    for (const name of names(20)) door.come(name);
    for (let looks = 1; looks < 20; looks += 1) {
      door.nowMs = door.admission.nextTurnMs ?? NaN;
      expect(door.admission.turns(door.nowMs)).toHaveLength(1);
    }
    expect(door.nowMs).toBe(1900);
  });

  it("is refused beyond the bound, and told to come after those who wait", () => {
    const door = new Door();
    for (const name of names(51)) door.come(name);
    expect(door.admission.waiting).toBe(50);
    expect(door.admission.admit({ address: "x", origin: undefined, nowMs: 0 })).toEqual({
      admitted: false,
      reason: "handshake_rate",
      status: 503,
      retryAfterMs: 5000,
    });
  });

  it("is refused at once where its turn would come after the longest wait", () => {
    const door = new Door({ handshakesPerSecond: 2 });
    const answers = names(30).map((name) => door.come(name));
    expect(answers).toEqual([
      "in",
      ...Array<string>(20).fill("waits"),
      ...Array<string>(9).fill("handshake_rate"),
    ]);
    door.pass(11_000);
    expect(door.in).toHaveLength(21);
    expect(door.refused).toEqual([]);
  });

  it("still meets the limits that do not pass with time, when it comes and when its turn comes", () => {
    const door = new Door({ maxConnections: 3 });
    for (const name of names(5)) door.come(name);
    expect(door.come("foreign", "foreign", "https://evil.example")).toBe("origin");
    door.pass(1000);
    expect(door.in).toEqual(["h0", "h1", "h2"]);
    expect(door.refused).toEqual(["h3 connections 503 1000", "h4 connections 503 1000"]);
    expect(door.come("more")).toBe("connections");
  });
});

describe("who waits", () => {
  it("leaves at once where its socket is gone: its turn is the next one's", () => {
    const door = new Door();
    for (const name of names(5)) door.come(name);
    door.leave("h1");
    door.leave("h2");
    expect(door.admission.waiting).toBe(2);
    door.leave("h1");
    expect(door.admission.waiting).toBe(2);
    door.pass(200);
    expect(door.in).toEqual(["h0", "h3", "h4"]);
  });

  it("waits for 10 s at most: then it is refused and told when to come", () => {
    const door = new Door();
    for (const name of names(4)) door.come(name);
    // Nobody looked for so long: the process stood still.
    door.pass(10_000, 10_000);
    // One token of burst; two are too late.
    expect(door.in).toEqual(["h0", "h1"]);
    expect(door.refused).toEqual(["h2 handshake_rate 503 1000", "h3 handshake_rate 503 1000"]);
    expect(door.admission.waiting).toBe(0);
  });

  it("holds nothing of the edge: neither a connection nor a handshake under way", () => {
    const door = new Door();
    for (const name of names(5)) door.come(name);
    expect(door.admission.occupancy).toEqual({ connections: 0, pendingHandshakes: 1 });
  });
});

describe("an address over its own rate", () => {
  const byAddress = { handshakesPerSecond: 1000, handshakeBurst: 1000, handshakesPerSecondPerAddress: 10 };

  it("waits for itself: others pass by", () => {
    const door = new Door({ ...byAddress, handshakeBurstPerAddress: 1 });
    for (const name of ["a1", "a2", "a3"]) door.come(name, "a");
    expect(door.come("b1", "b")).toBe("in");
    door.pass(50);
    expect(door.come("c1", "c")).toBe("in");
    door.pass(150);
    expect(door.in).toEqual(["a1", "b1", "c1", "a2", "a3"]);
  });

  it("does not hold up others that wait behind it for the edge", () => {
    const door = new Door({ handshakesPerSecondPerAddress: 1, handshakeBurstPerAddress: 1 });
    for (const name of ["a1", "a2", "a3"]) door.come(name, "a");
    for (const name of ["b", "c"]) expect(door.come(name)).toBe("waits");
    door.pass(200);
    expect(door.in).toEqual(["a1", "b", "c"]);
    door.pass(2000);
    expect(door.in).toEqual(["a1", "b", "c", "a2", "a3"]);
  });

  it("keeps its own order, also where it has its rate again and nobody has looked yet", () => {
    const door = new Door({ ...byAddress, handshakeBurstPerAddress: 1 });
    for (const name of ["a1", "a2"]) door.come(name, "a");
    door.nowMs = 100;
    expect(door.come("a3", "a")).toBe("waits");
    door.pass(200);
    expect(door.in).toEqual(["a1", "a2", "a3"]);
  });

  it("cannot have more wait than it could get in: it leaves room for others", () => {
    const door = new Door({
      ...byAddress,
      handshakeBurstPerAddress: 1,
      handshakesPerSecondPerAddress: 2,
      maxWaitingHandshakes: 1000,
    });
    const answers = Array.from({ length: 1000 }, (_, index) => door.come(`a${index}`, "a"));
    expect(answers.filter((answer) => answer === "waits")).toHaveLength(20);
    expect(new Set(answers.slice(21))).toEqual(new Set(["address_handshake_rate"]));
    expect(door.come("b")).toBe("in");
  });

  it("is remembered while it waits, and forgotten after", () => {
    const door = new Door({ ...byAddress, handshakeBurstPerAddress: 1, maxIdleAddresses: 1 });
    for (const name of ["a1", "a2"]) door.come(name, "a");
    for (const slot of door.slots) slot.closed();
    for (let index = 0; index < 100; index += 1) {
      door.come(`flood-${index}`);
      door.slots.at(-1)?.closed();
    }
    expect(door.admission.addresses).toBe(2);
    door.leave("a2");
    expect(door.admission.addresses).toBe(1);
  });
});
