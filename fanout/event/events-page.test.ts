import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { DEAD_LETTER_HEADERS } from "./dead-letter.js";
import { readEnvelope } from "./envelope.js";
import { EVENT_TOPICS } from "./event-source-kafka.js";
import { INCOMING_EVENTS, meaningOf } from "./incoming-events.js";

const page = readFileSync(new URL("../../docs/events.md", import.meta.url), "utf8");

/** The names in the first column of the table under a heading. */
function rowsUnder(heading: string): string[] {
  const section = page.split(/^## /m).find((part) => part.startsWith(heading)) ?? "";
  return [...section.matchAll(/^\| `([^`]+)` +\|/gm)].map(([, name]) => name ?? "");
}

/** Every envelope in a JSON block. */
function examples(): unknown[] {
  return [...page.matchAll(/^```json\n(.*?)^```$/gms)].flatMap(([, block]) => {
    const parsed: unknown = JSON.parse(block ?? "");
    return Array.isArray(parsed) ? (parsed as unknown[]) : [parsed];
  });
}

describe("docs/events.md", () => {
  it("lists exactly the types that are mapped", () => {
    expect(rowsUnder("Types that are read").sort()).toEqual([...INCOMING_EVENTS.keys()].sort());
  });

  it.each(examples().map((example): [string, unknown] => [JSON.stringify(example).slice(0, 80), example]))(
    "has an example that is read as it stands: %s",
    (_, example) => {
      const value = Buffer.from(JSON.stringify(example));
      const envelope = readEnvelope({
        topic: "order-events",
        partition: 0,
        offset: 0,
        key: undefined,
        value,
        headers: {},
      });
      const { outcome } = meaningOf(envelope, Date.now());
      expect(outcome).toBe(envelope.type.startsWith("porter.") ? "ignored" : "actions");
    },
  );

  it("has examples of every family of types", () => {
    const types = examples().map((example) => (example as { type: string }).type.split(".")[0]);
    expect(new Set(types)).toEqual(new Set(["order", "ride", "booking", "notification", "porter"]));
  });

  it("names the topics that are read and the headers of a dead letter", () => {
    for (const topic of EVENT_TOPICS) expect(page).toContain(`\`${topic}\``);
    for (const header of Object.values(DEAD_LETTER_HEADERS)) expect(page).toContain(`\`${header}\``);
  });
});
