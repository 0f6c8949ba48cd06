import { describe, expect, it } from "vitest";
import { clientAddress, normalizeAddress, UNKNOWN_ADDRESS } from "./client-address.js";

const behind = (trustedProxyHops: number, forwardedFor: string | readonly string[] | undefined) =>
  clientAddress({ remoteAddress: "10.0.0.1", forwardedFor, trustedProxyHops });

describe("clientAddress", () => {
  it("is the peer's own where no proxy is trusted, whatever the header says", () => {
    expect(behind(0, "198.51.100.7")).toBe("10.0.0.1");
  });

  it("is the entry that the outermost trusted proxy added, read from the right", () => {
    expect(behind(1, "198.51.100.7")).toBe("198.51.100.7");
    expect(behind(1, "1.1.1.1, 2.2.2.2,198.51.100.7")).toBe("198.51.100.7");
    expect(behind(2, "1.1.1.1, 198.51.100.7 , 10.0.0.2")).toBe("198.51.100.7");
    expect(behind(3, "198.51.100.7, 10.0.0.3, 10.0.0.2")).toBe("198.51.100.7");
    expect(behind(2, ["1.1.1.1, 198.51.100.7", "10.0.0.2"])).toBe("198.51.100.7");
  });

  it("is the peer's own where the header is missing, too short or no address", () => {
    for (const header of [undefined, "", " ", ",", "198.51.100.7", ",198.51.100.7", "unknown, 10.0.0.2"]) {
      expect(behind(2, header)).toBe("10.0.0.1");
    }
    for (const header of ["", "unknown", "198.51.100.7,", "_hidden", "198.51.100.777", "1:2:3"]) {
      expect(behind(1, header)).toBe("10.0.0.1");
    }
  });

  it("leaves ports out", () => {
    expect(behind(1, "198.51.100.7:4711")).toBe("198.51.100.7");
    expect(behind(1, "[2001:db8:1:2::7]:4711")).toBe("2001:db8:1:2::/64");
    expect(behind(1, "[2001:db8:1:2::7]")).toBe("2001:db8:1:2::/64");
  });

  it("reads a header of any length from its right end only", () => {
    expect(behind(1, `${"1.1.1.1,".repeat(1_000_000)}198.51.100.7`)).toBe("198.51.100.7");
    expect(behind(5, ",".repeat(1_000_000))).toBe("10.0.0.1");
  });

  it("is one address for all whose socket is gone already", () => {
    expect(clientAddress({ remoteAddress: undefined, forwardedFor: undefined, trustedProxyHops: 0 })).toBe(
      UNKNOWN_ADDRESS,
    );
  });
});

describe("normalizeAddress", () => {
  it.each([
    ["192.0.2.1", "192.0.2.1"],
    ["::ffff:192.0.2.1", "192.0.2.1"],
    ["::FFFF:c000:0201", "192.0.2.1"],
    ["0:0:0:0:0:ffff:192.0.2.1", "192.0.2.1"],
    ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
    ["2001:0DB8:0001:0002::", "2001:db8:1:2::/64"],
    ["2001:db8::1", "2001:db8:0:0::/64"],
    ["2001:db8::192.0.2.1", "2001:db8:0:0::/64"],
    ["1:2:3:4:5:6:192.0.2.1", "1:2:3:4::/64"],
    ["fe80::1%eth0", "fe80:0:0:0::/64"],
    ["::1", "0:0:0:0::/64"],
    ["::", "0:0:0:0::/64"],
  ])("counts %s as %s", (address, expected) => {
    expect(normalizeAddress(address)).toBe(expected);
  });

  it("counts all addresses of one /64 as one, and of two as two", () => {
    expect(normalizeAddress("2001:db8:1:2::1")).toBe(normalizeAddress("2001:db8:1:2:ffff::9"));
    expect(normalizeAddress("2001:db8:1:2::1")).not.toBe(normalizeAddress("2001:db8:1:3::1"));
  });

  it.each(["", "localhost", "1.2.3", "01.2.3.4", "1::2::3", ":::", "12345::", "1.2.3.4%eth0"])(
    "knows that %j is no address",
    (text) => {
      expect(normalizeAddress(text)).toBeUndefined();
    },
  );
});
