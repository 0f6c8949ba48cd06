import { describe, expect, it } from "vitest";
import { DEFAULT_JWT_OPTIONS } from "./jwt-verifier.js";
import { principalOf } from "./principal-claims.js";
import { checkUserType } from "./user-type.js";

const withRole = (role?: string) =>
  principalOf({ sub: "u1", ...(role !== undefined && { role }) }, DEFAULT_JWT_OPTIONS);
const TRUSTED = { trustUserType: true };
const UNTRUSTED = { trustUserType: false };

describe("checkUserType", () => {
  it("leaves the token's role where the client says nothing or the same", () => {
    for (const trust of [TRUSTED, UNTRUSTED]) {
      expect(checkUserType(withRole("driver"), undefined, trust).role).toBe("driver");
      expect(checkUserType(withRole("driver"), "", trust).role).toBe("driver");
      expect(checkUserType(withRole("driver"), "driver", trust).role).toBe("driver");
      expect(checkUserType(withRole(), "user", trust).role).toBe("user");
    }
  });

  it.each(["rider", "porter", "delivery_partner", "Driver", "admin", "user"])(
    "refuses %s for a token of a driver, trusted or not",
    (userType) => {
      for (const trust of [TRUSTED, UNTRUSTED]) {
        expect(() => checkUserType(withRole("driver"), userType, trust)).toThrow(
          expect.objectContaining({ reason: "user_type", kind: "permission_denied" }),
        );
      }
    },
  );

  it("takes the client's word only for a token without a role, and only where it is trusted", () => {
    const principal = withRole();
    expect(checkUserType(principal, "delivery_partner", TRUSTED)).toEqual({
      ...principal,
      role: "delivery_partner",
    });
    expect(principal.role).toBe("user");
    expect(() => checkUserType(principal, "delivery_partner", UNTRUSTED)).toThrow(
      expect.objectContaining({ reason: "user_type" }),
    );
  });

  it.each(["admin", "service", "anything"])("never lets a client make itself %s", (userType) => {
    expect(() => checkUserType(withRole(), userType, TRUSTED)).toThrow(
      expect.objectContaining({ kind: "permission_denied" }),
    );
  });
});
