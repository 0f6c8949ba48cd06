/** What `npm start` tells a newcomer, and what it keeps to itself. */
import { expect, test } from "vitest";
import { JwtVerifier } from "#edge/auth/jwt-verifier.js";
import { loadGatewayConfig } from "#services/config/load.js";
import { gatewayBanner } from "./banner.js";
import { DEMO_ROLES, makeDemoTokens } from "./demo-tokens.js";

const ports = { sockets: 3002, metrics: 9090, api: 50_051 };
const SECRET = "a-secret-for-tests-of-32-bytes-or-more";

async function bannerOf(environment: Record<string, string>): Promise<string> {
  const config = loadGatewayConfig(environment);
  const tokens = await makeDemoTokens(config);
  return gatewayBanner({ config, version: "1.2.3", ports, apiAccess: "open to loopback only", tokens });
}

test("a newcomer is told every address, who may call the API, and where state is", async () => {
  const banner = await bannerOf({});
  for (const told of [
    "ws://localhost:3002/ws",
    "http://localhost:3002/health",
    "http://localhost:9090/metrics",
    "localhost:50051",
    "open to loopback only",
    "JWT_SOCKET_SECRET is unset: a random one",
  ]) {
    expect(banner).toContain(told);
  }
});

test("the tokens printed are believed by the gateway that prints them, each with its role", async () => {
  const config = loadGatewayConfig({});
  const tokens = await makeDemoTokens(config);
  const verifier = await JwtVerifier.create(config.sockets.jwt);
  for (const role of DEMO_ROLES) {
    const { principal } = await verifier.verify(tokens?.[role] ?? "");
    expect(principal).toMatchObject({ role, userId: `demo-${role}` });
  }
});

test("the line to paste has the addresses and tokens in it", async () => {
  const banner = await bannerOf({});
  const line = banner.split("\n").find((each) => each.includes("examples/watch-order.mjs"));
  expect(line).toMatch(
    /node examples\/watch-order\.mjs --url ws:\/\/localhost:3002\/ws --api localhost:50051 --customer ey\S+ --porter ey\S+$/,
  );
  expect(banner).toMatch(/npx wscat -s realtime\.v1\.json -c "ws:\/\/localhost:3002\/ws\?token=ey/);
});

test("no token is printed in production, nor without a secret", async () => {
  const production = await bannerOf({ NODE_ENV: "production", JWT_SECRET: SECRET });
  const provider = await bannerOf({ JWT_JWKS_URL: "https://id.example.com/keys" });
  expect(production).not.toMatch(/eyJ/);
  expect(provider).not.toMatch(/eyJ/);
});

test("no secret and no service token is printed", async () => {
  const banner = await bannerOf({ JWT_SECRET: SECRET, API_TOKENS: "a-service-token" });
  expect(banner).not.toContain(SECRET);
  expect(banner).not.toContain("a-service-token");
});
