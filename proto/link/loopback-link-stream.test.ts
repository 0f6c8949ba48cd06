import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { loopbackLink } from "./loopback-link-stream.js";
import type { LinkStream } from "./link-stream.js";

function listenTo(stream: LinkStream) {
  const heard = { batches: [] as string[], closed: [] as string[] };
  stream.listen({
    batch: (batch) => heard.batches.push(Buffer.from(batch).toString()),
    drained: () => undefined,
    closed: (reason) => heard.closed.push(reason),
  });
  return heard;
}

function pair() {
  const [left, right] = loopbackLink();
  return { left, right, atLeft: listenTo(left), atRight: listenTo(right) };
}

describe("a loopback link", () => {
  it("hands batches over in order, both ways, and never within the same turn", async () => {
    const { left, right, atLeft, atRight } = pair();
    for (const name of ["a", "b", "c"]) expect(left.send(Buffer.from(name))).toBe(true);
    right.send(Buffer.from("d"));
    expect(atRight.batches).toEqual([]);
    await turn();
    expect(atRight.batches).toEqual(["a", "b", "c"]);
    expect(atLeft.batches).toEqual(["d"]);
  });

  it("hands over what was sent before its end, and nothing after; each end hears of it once", async () => {
    const { left, right, atLeft, atRight } = pair();
    left.send(Buffer.from("before"));
    left.end();
    right.destroy("again");
    await turn();
    left.send(Buffer.from("after"));
    right.send(Buffer.from("after"));
    await turn();
    expect(atRight).toEqual({ batches: ["before"], closed: ["ended"] });
    expect(atLeft).toEqual({ batches: [], closed: ["ended"] });
  });

  it("tells both ends why it was destroyed", async () => {
    const { right, atLeft, atRight } = pair();
    right.destroy("full");
    await turn();
    expect([atLeft.closed, atRight.closed]).toEqual([["full"], ["full"]]);
  });
});
