import { describe, expect, it } from "vitest";
import { rendezvous } from "./rendezvous.js";

const nodes = ["fanout-0", "fanout-1", "fanout-2"].map((name) => ({ name }));
const users = Array.from({ length: 3000 }, (_, index) => `default/u${index}`);

describe("rendezvous", () => {
  it("spreads users evenly over the nodes", () => {
    const counts = new Map<string, number>();
    for (const user of users) {
      const name = rendezvous(user, nodes)?.name ?? "";
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
    for (const node of nodes) expect(counts.get(node.name)).toBeGreaterThan(800);
  });

  it("moves only the users of a node that went", () => {
    const left = nodes.slice(0, 2);
    for (const user of users) {
      const before = rendezvous(user, nodes);
      if (before?.name !== "fanout-2") expect(rendezvous(user, left)).toBe(before);
    }
  });

  it("does not depend on the order of the nodes", () => {
    for (const user of users) expect(rendezvous(user, [...nodes].reverse())).toBe(rendezvous(user, nodes));
  });

  it("finds nobody among nobody", () => {
    const nobody: { name: string }[] = [];
    expect(rendezvous("u", nobody)).toBeUndefined();
  });
});
