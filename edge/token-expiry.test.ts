import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CloseCode } from "#proto/close-codes.js";
import { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { sessionOnFakeSocket, text } from "#test/support/session-on-fake-socket.js";
import { EdgeCounters } from "./edge-counters.js";
import { TokenExpiry } from "./token-expiry.js";

const START_MS = 1_700_000_000_000;
const WARNING_MS = 300_000;

beforeEach(() => {
  vi.useFakeTimers({ now: START_MS, toFake: ["setTimeout", "clearTimeout", "Date"] });
});
afterEach(() => vi.useRealTimers());

function watching(warningMs = WARNING_MS) {
  const counters = new EdgeCounters();
  const expiry = new TokenExpiry({ warningMs, counters, nowMs: Date.now });
  const { session, socket } = sessionOnFakeSocket(1, { framing: Framing.FRAMING_JSON });
  session.state = text("of its home");
  const warnings = (): unknown[] => socket.written.map((frame) => JSON.parse(frame) as unknown);
  const watch = (leftMs: number): void => expiry.watch(session, Date.now() + leftMs);
  return { expiry, session, socket, counters, warnings, watch };
}

const warning = (expiresInMs: number) => ({ tokenExpiring: { expiresInMs } });

describe("a socket whose token ends", () => {
  it("is warned once, so long before, and closed exactly then", () => {
    const { socket, warnings, counters, watch } = watching();
    watch(3_600_000);
    vi.advanceTimersByTime(3_299_999);
    expect(warnings()).toEqual([]);
    vi.advanceTimersByTime(1);
    expect(warnings()).toEqual([warning(WARNING_MS)]);
    vi.advanceTimersByTime(WARNING_MS - 1);
    expect(socket.closedWith).toBeUndefined();
    vi.advanceTimersByTime(1);
    expect(socket.closedWith?.code).toBe(CloseCode.TOKEN_EXPIRED);
    expect([warnings().length, counters.tokenWarnings]).toEqual([1, 1]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is warned at once where less is left", () => {
    const { socket, warnings, watch } = watching();
    watch(60_000);
    vi.advanceTimersByTime(0);
    expect(warnings()).toEqual([warning(60_000)]);
    vi.advanceTimersByTime(60_000);
    expect(socket.closedWith?.code).toBe(CloseCode.TOKEN_EXPIRED);
  });

  it("hears nothing before its session is open, but is closed all the same", () => {
    const { session, socket, warnings, watch } = watching();
    session.state = text("");
    watch(60_000);
    vi.advanceTimersByTime(10_000);
    expect(warnings()).toEqual([]);
    session.state = text("of its home");
    vi.advanceTimersByTime(250);
    expect(warnings()).toEqual([warning(49_750)]);
    session.state = text("");
    vi.advanceTimersByTime(49_750);
    expect(socket.closedWith?.code).toBe(CloseCode.TOKEN_EXPIRED);
  });

  it("lives on with another token, and is warned of its end too", () => {
    const { socket, warnings, watch } = watching();
    watch(WARNING_MS + 1000);
    vi.advanceTimersByTime(1000);
    expect(warnings()).toHaveLength(1);
    watch(3_600_000);
    vi.advanceTimersByTime(3_299_999);
    expect([warnings().length, socket.closedWith]).toEqual([1, undefined]);
    vi.advanceTimersByTime(1);
    expect(warnings()).toEqual([warning(WARNING_MS), warning(WARNING_MS)]);
    watch(0);
    vi.advanceTimersByTime(0);
    expect(socket.closedWith?.code).toBe(CloseCode.TOKEN_EXPIRED);
  });

  it("is left alone where another token never ends, and when it is gone", () => {
    const { expiry, session, socket, watch } = watching();
    watch(1000);
    expiry.watch(session, 0);
    vi.advanceTimersByTime(WARNING_MS);
    watch(1000);
    expiry.forget(session);
    vi.advanceTimersByTime(WARNING_MS);
    expect(socket.closedWith).toBeUndefined();
    expect(vi.getTimerCount()).toBe(0);
  });

  it("is not warned where nobody shall be", () => {
    const { socket, warnings, watch } = watching(0);
    watch(1000);
    vi.advanceTimersByTime(1000);
    expect(warnings()).toEqual([]);
    expect(socket.closedWith?.code).toBe(CloseCode.TOKEN_EXPIRED);
  });
});
