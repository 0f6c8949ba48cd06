/** Resolves the two ends of the link. Neither is made so that anybody beyond this machine could pose as the other. */
import type { LinkClientTls } from "#edge/link/grpc-connect.js";
import type { EdgeLinkConfig, FanoutLinkConfig } from "./config.js";
import type { EnvironmentReader } from "./environment-reader.js";
import { isLoopback } from "./loopback.js";
import { readKeyPair, readMutualTls } from "./tls-files.js";
import { linkVariables } from "./variables/link.js";

export function readEdgeLink(reader: EnvironmentReader): EdgeLinkConfig {
  const { fanoutAddresses, token, tlsKey } = linkVariables;
  const addresses = reader.get(fanoutAddresses);
  const isProven = reader.isSet(token) || reader.isSet(tlsKey);
  if (!isProven && !hostsOf(addresses).every(isLoopback)) {
    reader.fault(
      token,
      `must be set (or ${tlsKey.name} and ${linkVariables.tlsCert.name}): ` +
        `${fanoutAddresses.name} leads beyond loopback, where fanouts refuse edges that show nothing`,
    );
  }
  return {
    addresses,
    resolveIntervalMs: reader.get(linkVariables.resolveIntervalMs),
    token: reader.get(token),
    tls: readClientTls(reader),
  };
}

export function readFanoutLink(reader: EnvironmentReader): FanoutLinkConfig {
  const { host, token, tlsKey, tlsCert, tlsCa } = linkVariables;
  const address = reader.get(host);
  const isProtected = reader.isSet(token) || reader.isSet(tlsCa);
  if (!isProtected && !isLoopback(address)) {
    reader.fault(
      token,
      `must be set (or ${tlsCa.name}): ${host.name} is ${address}, and beyond loopback edges must prove ` +
        "who they are",
    );
  }
  return {
    host: address,
    port: reader.get(linkVariables.port),
    token: reader.get(token),
    tls: readMutualTls(reader, { key: tlsKey, cert: tlsCert, clientCa: tlsCa }),
  };
}

function readClientTls(reader: EnvironmentReader): LinkClientTls | undefined {
  const pair = readKeyPair(reader, { key: linkVariables.tlsKey, cert: linkVariables.tlsCert });
  const ca = reader.get(linkVariables.tlsCa);
  const serverName = reader.get(linkVariables.tlsServerName);
  if (pair === undefined && ca === undefined && serverName === undefined) return undefined;
  return {
    ...pair,
    ...(ca !== undefined && { ca }),
    ...(serverName !== undefined && { serverName }),
  };
}

function hostsOf(addresses: string): string[] {
  const list = addresses.startsWith("dns:///") ? addresses.slice("dns:///".length) : addresses;
  return list.split(",").map((address) => address.trim().replace(/:\d+$/, ""));
}
