/**
 * What `npm start` tells a newcomer: where things are, who may call them, a token for each role and a line
 * to paste that shows a location arriving. A text only; it goes to the terminal and never into the log.
 */
import type { GatewayConfig } from "#services/config/config.js";
import { DEMO_ROLES, type DemoTokens } from "./demo-tokens.js";

export interface BannerOptions {
  readonly config: GatewayConfig;
  readonly version: string;
  /** As they were bound. */
  readonly ports: { readonly sockets: number; readonly metrics: number; readonly api: number };
  /** Who may call the API, in words (`ApiServer.describeAccess`). */
  readonly apiAccess: string;
  readonly tokens: DemoTokens | undefined;
}

export function gatewayBanner(options: BannerOptions): string {
  return ["", ...addressLines(options), "", ...tokenLines(options), ""].join("\n");
}

function addressLines({ config, version, ports, apiAccess }: BannerOptions): string[] {
  const { sockets, logic } = config;
  const isTls = sockets.tls !== undefined;
  const host = `${displayHost(config.host)}:${ports.sockets}`;
  const [http, webSocket] = isTls ? ["https", "wss"] : ["http", "ws"];
  const rows = [
    ["apps", `${webSocket}://${host}/ws`, "subprotocol realtime.v1.json or realtime.v1.protobuf"],
    ["health", `${http}://${host}/health`, "also /ready, and /metrics as JSON"],
    ["metrics", `http://${displayHost(config.host)}:${ports.metrics}/metrics`, "for Prometheus"],
    ["api", `${displayHost(logic.api.host)}:${ports.api}`, `gRPC realtime.api.v1, ${apiAccess}`],
    ["state", logic.redis === undefined ? "in this process" : "Redis", ""],
    ["events", logic.kafka === undefined ? "in this process" : "Kafka", ""],
  ];
  return [
    `realtime-gateway ${version}`,
    ...rows.map(([name = "", where = "", what = ""]) =>
      `  ${name.padEnd(8)} ${where.padEnd(36)} ${what}`.trimEnd(),
    ),
  ];
}

function tokenLines({ config, ports, tokens }: BannerOptions): string[] {
  if (tokens === undefined)
    return ["Tokens: signed by your provider; `npm run token -- --help` signs with a secret."];
  const url = `${config.sockets.tls === undefined ? "ws" : "wss"}://${displayHost(config.host)}:${ports.sockets}/ws`;
  const script = [
    "node examples/watch-order.mjs",
    `--url ${url} --api ${displayHost(config.logic.api.host)}:${ports.api}`,
    ...(config.logic.api.serviceTokens.length > 0 ? ["--api-token <one of API_TOKENS>"] : []),
    `--customer ${tokens.customer}`,
    `--porter ${tokens.porter}`,
  ].join(" ");
  return [
    config.hasDevelopmentSecret
      ? "JWT_SOCKET_SECRET is unset: a random one was made for this run, and tokens end with it."
      : "Tokens are checked with the configured secret.",
    "A token for each role, good for a day (`npm run token -- --help` makes others):",
    ...DEMO_ROLES.map((role) => `  ${role.padEnd(8)} ${tokens[role]}`),
    "",
    "See a location arrive: paste this into another terminal",
    `  ${script}`,
    "",
    "Or talk to it by hand:",
    `  npx wscat -s realtime.v1.json -c "${url}?token=${tokens.admin}"`,
    '  > {"id":1,"subscribe":{"channel":"order:42"}}',
  ];
}

/** What a browser on this machine can open. */
function displayHost(host: string): string {
  if (host === "0.0.0.0" || host === "::" || host === "127.0.0.1") return "localhost";
  return host.includes(":") ? `[${host}]` : host;
}
