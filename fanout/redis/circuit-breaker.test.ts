/** The circuit breaker, with time passed in. */
import { expect, it } from "vitest";
import { CircuitBreaker } from "./circuit-breaker.js";

it("opens after failures in a row, lets one probe through when its time is over, and closes on success", () => {
  const breaker = new CircuitBreaker({ failureThreshold: 3, openMs: 1_000 });
  breaker.failed(0);
  breaker.failed(0);
  breaker.succeeded();
  breaker.failed(0);
  breaker.failed(0);
  expect(breaker.admit(10)).toBe(0);
  expect(breaker.failed(100)).toBe(true);
  expect(breaker.isOpen).toBe(true);
  expect(breaker.admit(100)).toBe(1_000);
  expect(breaker.admit(1_099)).toBe(1);
  expect(breaker.admit(1_100)).toBe(0);
  expect(breaker.admit(1_100)).toBe(1_000);
  expect(breaker.failed(1_200)).toBe(false);
  expect(breaker.admit(2_099)).toBe(1);
  expect(breaker.admit(2_100)).toBe(0);
  breaker.succeeded();
  expect(breaker.isOpen).toBe(false);
  expect(breaker.admit(2_100)).toBe(0);
});
