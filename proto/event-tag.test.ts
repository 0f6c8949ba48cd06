import { describe, expect, it } from "vitest";
import { eventTag } from "./event-tag.js";

describe("eventTag", () => {
  // http://www.isthe.com/chongo/tech/comp/fnv/, test vectors of FNV-1a, 32 bits.
  it.each([
    ["", 0x811c9dc5],
    ["a", 0xe40c292c],
    ["b", 0xe70c2de5],
    ["foobar", 0xbf9cf968],
  ])("of %j is the FNV-1a that others compute too", (text, tag) => {
    expect(eventTag(text)).toBe(tag);
  });

  it("is an unsigned number of 32 bits, of the UTF-8 bytes", () => {
    for (let index = 0; index < 1000; index += 1) {
      const tag = eventTag(`ereignis-é-😀-${index}`);
      expect(Number.isInteger(tag) && tag >= 0 && tag <= 0xffff_ffff).toBe(true);
    }
    expect(eventTag("é")).toBe(eventTag(Buffer.from([0xc3, 0xa9]).toString("utf8")));
    expect(eventTag("é")).not.toBe(eventTag("e"));
  });
});
