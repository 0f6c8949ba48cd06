/**
 * Holds `docker-compose.yml` and `deploy/Dockerfile` against what they promise: the parts, their health
 * checks and order, ports, no secret in a file, and only variables that the processes know.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ALL_VARIABLES } from "#services/config/schema.js";
import { NODE_FLAGS } from "./support/process.js";
import { CHECKOUT } from "./support/source-files.js";
import { mapping, parseYaml } from "./support/yaml.js";

const composeText = readFileSync(join(CHECKOUT, "docker-compose.yml"), "utf8");
const compose = mapping(parseYaml(composeText), "docker-compose.yml");
const services = Object.entries(mapping(compose["services"], "services")).map(([name, value]) => ({
  name,
  service: mapping(value, name),
}));
const ownServices = services.filter(({ name }) => /^(edge|fanout)-\d$/.test(name));

const SECRET_NAME = /SECRET|TOKEN|PASSWORD|_KEY$/;

function environmentOf({ name, service }: (typeof services)[number]): [string, string][] {
  const environment = mapping(service["environment"] ?? {}, `environment of ${name}`);
  return Object.entries(environment).map(([variable, value]) => {
    if (typeof value !== "string") throw new Error(`${variable} of ${name} is not a text`);
    return [variable, value];
  });
}

describe("docker-compose.yml", () => {
  test("has two edges, two fanouts, the stores and a UI for each", () => {
    const names = services.map(({ name }) => name).sort();
    const expected = ["edge-1", "edge-2", "fanout-1", "fanout-2", "kafka", "kafka-ui", "redis", "redis-ui"];
    expect(names).toEqual(expected);
  });

  test.each(services)("$name has a health check, and waits for the health of what it needs", (each) => {
    expect(mapping(each.service["healthcheck"], "healthcheck")["test"]).toEqual(expect.any(Array));
    const dependencies = Object.entries(mapping(each.service["depends_on"] ?? {}, "depends_on"));
    for (const [name, dependency] of dependencies) {
      expect(services.map((other) => other.name)).toContain(name);
      expect(mapping(dependency, name)["condition"]).toBe("service_healthy");
    }
    expect(dependencies.length > 0).toBe(!["redis", "kafka"].includes(each.name));
  });

  test.each(services)("$name gets its secrets from the environment", (each) => {
    for (const [variable, value] of environmentOf(each)) {
      if (SECRET_NAME.test(variable)) expect(value, variable).toMatch(/^\$\{[A-Z_]+:[?-][^}]*\}$/);
      expect(value, variable).not.toMatch(/\/\/[^/@\s]+:[^/@\s]+@/);
    }
  });

  test("refuses to start without the secrets that there is no safe default for, and says how to make them", () => {
    for (const name of ["JWT_SOCKET_SECRET", "LINK_TOKEN", "API_TOKENS"]) {
      expect(composeText).toContain(`\${${name}:?set it in .env`);
    }
  });

  test.each(ownServices)("$name is configured by variables that its process reads", (each) => {
    const process = each.name.startsWith("edge") ? "edge" : "fanout";
    const known = ALL_VARIABLES.filter(({ usedBy }) => usedBy.includes(process)).map(({ name }) => name);
    expect(known).toEqual(expect.arrayContaining(environmentOf(each).map(([variable]) => variable)));
  });

  test.each(ownServices)(
    "$name runs with the flags of Node that are tested and measured",
    ({ name, service }) => {
      const process = name.startsWith("edge") ? "edge" : "fanout";
      const ofImage = NODE_FLAGS.gateway;
      const flags = NODE_FLAGS[process].filter((flag) => !ofImage.includes(flag));
      expect(service["command"]).toEqual([...flags, `dist/services/${process}/main.js`]);
      const { scripts } = JSON.parse(readFileSync(join(CHECKOUT, "package.json"), "utf8")) as {
        readonly scripts: Readonly<Record<string, string>>;
      };
      expect(scripts[`start:${process}`]).toBe(
        ["exec node", ...flags, "scripts/start.mjs", process].join(" "),
      );
    },
  );

  test("gives out each port of this machine once, the documented ones to the first edge and fanout", () => {
    const published = services.flatMap(({ name, service }) =>
      (Array.isArray(service["ports"]) ? service["ports"] : []).map((port: unknown) => ({
        name,
        port: /(?:^|:)(?:\$\{\w+:-)?(\d+)\}?:\d+$/.exec(String(port))?.[1],
      })),
    );
    const ports = published.map(({ port }) => port);
    expect(ports).not.toContain(undefined);
    expect(new Set(ports).size).toBe(ports.length);
    const portsOf = (wanted: string) =>
      published.filter(({ name }) => name === wanted).map(({ port }) => port);
    expect(portsOf("edge-1")).toEqual(["3002", "9090"]);
    expect(portsOf("fanout-1")).toEqual(["50051", "50052", "8082", "9091"]);
  });
});

describe("deploy/Dockerfile", () => {
  const text = readFileSync(join(CHECKOUT, "deploy/Dockerfile"), "utf8");
  const last = text.slice(text.lastIndexOf("\nFROM "));

  test("ends in an image that runs without root, knows its health, and says what it runs", () => {
    expect(last).toMatch(/^USER node$/m);
    expect(last).toMatch(/^HEALTHCHECK /m);
    expect(last).toContain(
      `ENTRYPOINT ${JSON.stringify(["node", ...NODE_FLAGS.gateway]).replaceAll(",", ", ")}`,
    );
    expect(last).toContain('CMD ["dist/services/gateway/main.js"]');
  });

  test("copies only what exists and what .dockerignore lets through", () => {
    const ignored = readFileSync(join(CHECKOUT, ".dockerignore"), "utf8").split("\n");
    const copied = [...text.matchAll(/^COPY (?!--from)(.+) \S+$/gm)].flatMap(([, paths = ""]) =>
      paths.split(" "),
    );
    expect(copied.length).toBeGreaterThan(0);
    expect(copied.filter((path) => !existsSync(join(CHECKOUT, path)))).toEqual([]);
    expect(copied.filter((path) => !ignored.includes(`!${path}`))).toEqual([]);
  });
});
