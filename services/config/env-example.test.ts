/** `.env.example` and `--help` against the schema. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseEnv } from "node:util";
import { describe, expect, test } from "vitest";
import { envExample } from "./env-example.js";
import { asksForHelp, helpText } from "./help.js";
import { loadEdgeConfig, loadFanoutConfig, loadGatewayConfig } from "./load.js";
import { ALL_VARIABLES, variablesOf } from "./schema.js";

const file = readFileSync(fileURLToPath(new URL("../../.env.example", import.meta.url)), "utf8");
const SECRET = "a-secret-for-tests-of-32-bytes-or-more";

describe(".env.example", () => {
  test("is what the schema says (else: npm run env-example)", () => {
    expect(file).toBe(envExample());
  });

  test("names every variable once and nothing else", () => {
    const names = file.split("\n").flatMap((line) => /^([A-Z0-9_]+)=/.exec(line)?.[1] ?? []);
    expect(names).toEqual(ALL_VARIABLES.map(({ name }) => name));
    expect(new Set(names).size).toBe(names.length);
  });

  test("changes nothing where it is copied as it is", () => {
    const copied = { ...parseEnv(file), JWT_SOCKET_SECRET: SECRET };
    const nothing = { JWT_SOCKET_SECRET: SECRET };
    expect(loadEdgeConfig(copied)).toEqual(loadEdgeConfig(nothing));
    expect(loadFanoutConfig(copied)).toEqual(loadFanoutConfig(nothing));
    expect(loadGatewayConfig(copied)).toEqual(loadGatewayConfig(nothing));
  });
});

describe("--help", () => {
  test("lists the variables of the process with their defaults, and no others", () => {
    const help = helpText({ process: "edge", command: "npm run start:edge", about: "Holds sockets." });
    for (const { name } of variablesOf("edge")) expect(help).toContain(`  ${name}  (`);
    expect(help).toContain("METRICS_PORT  (default: 9090)");
    expect(help).toContain("JWT_ISSUER  (unset: not checked)");
    expect(help).not.toContain("KAFKA_BROKERS");
  });

  test("is asked for by --help and by -h", () => {
    expect([["--help"], ["-h"], []].map(asksForHelp)).toEqual([true, true, false]);
  });
});
