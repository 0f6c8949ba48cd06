/** The variables that say how a process runs: its name, its addresses, its log. */
import { oneOf, port, text, trueOrFalse } from "../value-kind.js";
import { EVERY_PROCESS, optional, withDefault } from "../variable.js";

export const processVariables = {
  environment: withDefault("NODE_ENV", oneOf("development", "production", "test"), {
    default: "development",
    usedBy: EVERY_PROCESS,
    about: "In production nothing is made up for convenience, and nothing meant for tests is allowed.",
  }),
  serverId: optional("SERVER_ID", text("1 to 64 letters, digits or _ . -", /^[\w.-]{1,64}$/), {
    unset: "the process, the host's name and the port",
    usedBy: EVERY_PROCESS,
    about: "The stable name of this process: told to clients, and in every log line.",
  }),
  host: withDefault("HOST", text("an address or a host name", /^[\w.:-]{1,253}$/), {
    default: "0.0.0.0",
    usedBy: EVERY_PROCESS,
    about: "The address to listen on for sockets, health and metrics (`PORT`, `HTTP_PORT`, `METRICS_PORT`).",
  }),
  metricsPort: withDefault("METRICS_PORT", port, {
    default: { edge: "9090", fanout: "9091", gateway: "9090" },
    usedBy: EVERY_PROCESS,
    about: "Where Prometheus reads `/metrics`.",
  }),
  logLevel: withDefault("LOG_LEVEL", oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent"), {
    default: "info",
    usedBy: EVERY_PROCESS,
    about: "The least important kind of log line that is written.",
  }),
  testHooks: withDefault("TEST_HOOKS", trueOrFalse, {
    default: "false",
    usedBy: EVERY_PROCESS,
    about: "Turns on what tests need to cause faults; refused in production.",
  }),
};
