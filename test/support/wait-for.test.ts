/** Waits reject when the thing does not come; a wait that resolves on time-out would make tests that cannot fail. */
import { expect, test } from "vitest";
import { waitFor, within } from "./wait-for.js";

test("waitFor yields the first value that is neither undefined nor false", async () => {
  const answers = [undefined, false, 0] as const;
  let calls = 0;
  expect(await waitFor(() => answers[calls++], { what: "a value", pollMs: 1 })).toBe(0);
  expect(calls).toBe(3);
});

test("waitFor rejects with what it waited for, and says what the probe threw last", async () => {
  const waiting = waitFor(() => Promise.reject(new Error("refused")), {
    what: "the door to open",
    timeoutMs: 20,
    pollMs: 1,
  });
  await expect(waiting).rejects.toThrow("timed out after 20 ms waiting for the door to open");
  await expect(waiting).rejects.toMatchObject({ cause: { message: "refused" } });
});

test("a probe that never answers does not outlive the time-out", async () => {
  const silent = new Promise<never>(() => undefined);
  await expect(waitFor(() => silent, { what: "an answer", timeoutMs: 20 })).rejects.toThrow("an answer");
  await expect(within(silent, 5)).rejects.toThrow("no answer within 5 ms");
});
