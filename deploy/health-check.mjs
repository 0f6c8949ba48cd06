/**
 * Asks the process of this container for `/health` (or the path given) and exits with 0 when it
 * answers 200. An edge answers on PORT, a fanout on HTTP_PORT: the first that listens counts.
 */
import { get } from "node:http";
import { get as getByTls } from "node:https";

const path = process.argv[2] ?? "/health";
const edgeByTls = /^(true|1|yes|on)$/i.test(process.env.TLS_ENABLED ?? "");
const addresses = [
  { port: process.env.PORT || "3002", request: edgeByTls ? getByTls : get },
  { port: process.env.HTTP_PORT || "8082", request: get },
];

for (const { port, request } of addresses) {
  const status = await statusAt(port, request);
  if (status === undefined) continue;
  process.exit(status === 200 ? 0 : 1);
}
process.exit(1);

/** The HTTP status, or undefined where nobody listens. */
function statusAt(port, request) {
  return new Promise((resolve) => {
    // The certificate is for the outside name; here only this very container is asked.
    const options = { host: "127.0.0.1", port, path, timeout: 2_500, rejectUnauthorized: false };
    const call = request(options, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    call.on("timeout", () => call.destroy(new Error("no answer in time")));
    call.on("error", (error) => resolve(error.code === "ECONNREFUSED" ? undefined : 0));
  });
}
