/** Holds the list of metrics in docs/operations.md against what the parts of a gateway really publish. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { beforeAll, expect, test } from "vitest";
import { fanoutDiscovery } from "#edge/link/fanout-discovery.js";
import { loadGatewayConfig } from "#services/config/load.js";
import { EdgePart } from "#services/edge/edge-part.js";
import { FanoutPart } from "#services/fanout/fanout-part.js";
import { createLogger } from "#services/logging/logger.js";
import { Metrics } from "./metrics.js";

const page = readFileSync(fileURLToPath(new URL("../../docs/operations.md", import.meta.url)), "utf8");
/** Help by name. */
let published: ReadonlyMap<string, string>;

beforeAll(async () => {
  const config = loadGatewayConfig({ LOG_LEVEL: "silent" });
  const metrics = new Metrics({ processMetrics: false });
  const logger = createLogger({ service: "test", version: "0", serverId: "test", level: "silent" });
  const given = { service: "test", process: config, logger, metrics };
  // Made and never started: nothing listens, nothing has to be closed.
  await FanoutPart.make({ ...given, logic: config.logic });
  await EdgePart.make({
    ...given,
    sockets: config.sockets,
    discovery: fanoutDiscovery(""),
    connect: () => {
      throw new Error("nothing connects here");
    },
  });
  const helpLines = (await metrics.text()).matchAll(/^# HELP (\S+) (.*)$/gm);
  published = new Map([...helpLines].map(([, name = "", help = ""]) => [name, help]));
});

test("every metric is on the page, with what it says of itself", () => {
  const lines = page.split("\n");
  const missing = [...published].filter(
    ([name, help]) =>
      !lines.some(
        (line) => (line.includes(`\`${name}\``) || line.includes(`\`${name}{`)) && line.includes(help),
      ),
  );
  expect(missing).toEqual([]);
  expect(published.size).toBeGreaterThan(40);
});

test("every metric on the page is published", () => {
  const named = [...page.matchAll(/`(realtime_[a-z_]+)/g)].map(([, name = ""]) => name);
  expect(named.filter((name) => !published.has(name))).toEqual([]);
});
