/** The variables of the link between edges and fanouts; the one-process gateway has it within itself. */
import { duration, hostsAndPorts, pemFile, port, secret, text, type ValueKind } from "../value-kind.js";
import { optional, withDefault, type ProcessName } from "../variable.js";

const EDGE: readonly ProcessName[] = ["edge"];
const FANOUT: readonly ProcessName[] = ["fanout"];
const BOTH_ENDS: readonly ProcessName[] = ["edge", "fanout"];

/** Kept as it was written: the edge's discovery reads it. */
const fanoutAddresses: ValueKind<string> = {
  expects: "a list host:port,host:port, or dns:///name:port for the addresses behind a name",
  parse(value, files) {
    if (value.startsWith("dns:///")) {
      return /^dns:\/\/\/[\w.-]+:\d{1,5}$/.test(value) ? value : undefined;
    }
    return hostsAndPorts.parse(value, files) === undefined ? undefined : value;
  },
};

export const linkVariables = {
  fanoutAddresses: withDefault("FANOUT_ADDRS", fanoutAddresses, {
    default: "127.0.0.1:50052",
    usedBy: EDGE,
    about: "The fanouts' links: `host:port,host:port`, or `dns:///name:port` for a headless service.",
  }),
  resolveIntervalMs: withDefault("FANOUT_RESOLVE_INTERVAL", duration({ min: "100ms", max: "5m" }), {
    default: "2s",
    usedBy: EDGE,
    about: "How often a `dns:///` name in FANOUT_ADDRS is looked up again.",
  }),
  host: withDefault("LINK_HOST", text("an address or a host name", /^[\w.:-]{1,253}$/), {
    default: "127.0.0.1",
    usedBy: FANOUT,
    about: "The address to listen on for edges; beyond loopback LINK_TOKEN or LINK_TLS_CA_FILE is needed.",
  }),
  port: withDefault("LINK_PORT", port, {
    default: "50052",
    usedBy: FANOUT,
    about: "Where edges connect.",
  }),
  token: optional("LINK_TOKEN", secret({ minBytes: 8 }), {
    unset: "edges show a certificate, or come over loopback",
    usedBy: BOTH_ENDS,
    secret: true,
    about: "What edges show to fanouts: the same at both ends.",
  }),
  tlsKey: optional("LINK_TLS_KEY_FILE", pemFile, {
    unset: "the link is not encrypted",
    usedBy: BOTH_ENDS,
    about: "The private key of this end of the link, in PEM.",
  }),
  tlsCert: optional("LINK_TLS_CERT_FILE", pemFile, {
    unset: "the link is not encrypted",
    usedBy: BOTH_ENDS,
    about: "The certificate of this end of the link, in PEM.",
  }),
  tlsCa: optional("LINK_TLS_CA_FILE", pemFile, {
    unset: "the system's authorities at an edge; no certificates are asked for at a fanout",
    usedBy: BOTH_ENDS,
    about:
      "The authority that the other end's certificate must be of: with it at both ends the link is mTLS.",
  }),
  tlsServerName: optional("LINK_TLS_SERVER_NAME", text("a host name", /^[\w.-]{1,253}$/), {
    unset: "the host in FANOUT_ADDRS",
    usedBy: EDGE,
    about: "The name in the fanouts' certificates, where they are reached by address.",
  }),
};
