/**
 * Ports for processes that tests start. They are taken from below the range that the system hands
 * to outgoing connections, so that nothing takes one between here and the process that binds it;
 * test files that run side by side choose from ranges of their own.
 */
import { createServer } from "node:net";

const FIRST_PORT = 12_000;
const LAST_PORT = 31_999;

/** Each of the processes that run test files side by side has ports of its own. */
const WORKERS = 8;

const given = new Set<number>();

/** Which of them this is; 0 outside of them, as in the global set-up. */
function worker(): number {
  return Number(process.env["VITEST_POOL_ID"] ?? 0);
}

/** A TCP port of loopback that nobody listens on and that this process was not given before. */
export async function freePort(): Promise<number> {
  const count = Math.floor((LAST_PORT - FIRST_PORT + 1) / WORKERS);
  const firstPort = FIRST_PORT + count * (worker() % WORKERS);
  for (let attempt = 0; attempt < 200; attempt++) {
    const port = firstPort + Math.floor(Math.random() * count);
    if (given.has(port)) continue;
    if (await canListen(port)) {
      given.add(port);
      return port;
    }
  }
  throw new Error(`no free port between ${FIRST_PORT} and ${LAST_PORT}`);
}

/** Several different free ports. */
export async function freePorts<Name extends string>(
  ...names: readonly Name[]
): Promise<Record<Name, number>> {
  const ports: Partial<Record<Name, number>> = {};
  for (const name of names) ports[name] = await freePort();
  return ports as Record<Name, number>;
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen({ port, host: "0.0.0.0", exclusive: true }, () => server.close(() => resolve(true)));
  });
}
