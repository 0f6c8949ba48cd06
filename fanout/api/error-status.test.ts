import { expect, it } from "vitest";
import { GatewayError } from "#proto/errors.js";
import { statusOf } from "./error-status.js";

it("says in its text which field is at fault, for callers who do not read the trailer", () => {
  const error = new GatewayError("invalid_argument", "it must be 1 to 100 ids", { field: "candidate_ids" });
  expect(statusOf(error).details).toBe("candidate_ids: it must be 1 to 100 ids");
  expect(statusOf(new GatewayError("unavailable", "the store is away")).details).toBe("the store is away");
});
