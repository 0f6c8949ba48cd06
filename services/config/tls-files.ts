/** Reads key, certificate and authority together: half a pair is a fault, not a silent way without TLS. */
import type { MutualServerTls, ServerTls } from "./config.js";
import type { EnvironmentReader } from "./environment-reader.js";
import type { OptionalVariable } from "./variable.js";

interface KeyPairVariables {
  readonly key: OptionalVariable<string>;
  readonly cert: OptionalVariable<string>;
}

/** `undefined` where neither is set. */
export function readKeyPair(reader: EnvironmentReader, variables: KeyPairVariables): ServerTls | undefined {
  const key = reader.get(variables.key);
  const cert = reader.get(variables.cert);
  if (key !== undefined && cert !== undefined) return { key, cert };
  if (reader.isSet(variables.key) !== reader.isSet(variables.cert)) {
    const [missing, given] = reader.isSet(variables.key)
      ? [variables.cert, variables.key]
      : [variables.key, variables.cert];
    reader.fault(missing, `must be set together with ${given.name}`);
  }
  return undefined;
}

/** The same for a server that may ask its clients for certificates. */
export function readMutualTls(
  reader: EnvironmentReader,
  variables: KeyPairVariables & { readonly clientCa: OptionalVariable<string> },
): MutualServerTls | undefined {
  const pair = readKeyPair(reader, variables);
  const clientCa = reader.get(variables.clientCa);
  if (pair === undefined && reader.isSet(variables.clientCa) && !reader.isSet(variables.key)) {
    reader.fault(variables.clientCa, `needs ${variables.key.name} and ${variables.cert.name} beside it`);
  }
  return pair === undefined || clientCa === undefined ? pair : { ...pair, clientCa };
}
