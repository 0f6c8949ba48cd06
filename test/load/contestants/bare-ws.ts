/** One process of `ws` with rooms in memory and nothing else: what this language can do at most. */
import type { Contestant, ContestantOptions, RunningContestant } from "../contestant.js";
import { backendLocation } from "./backend-location.js";
import { NodeServer } from "./node-server.js";

const NAME = "bare ws";

export const bareWs: Contestant = { name: NAME, start };

async function start(options: ContestantOptions): Promise<RunningContestant> {
  const { edges = 1 } = options;
  if (edges !== 1) throw new Error(`bare ws has its rooms in one process: it cannot run in ${edges}`);
  const server = await NodeServer.start({ name: "the bare ws server", file: "bare-ws-server.mjs" });
  return {
    name: NAME,
    dialect: "bare-ws",
    endpoints: [server.endpoint],
    processes: [{ role: "node", pid: server.pid }],
    admit: async () => undefined,
    credentials: async () => "",
    publish: (event) => server.publish(event.room, backendLocation(event)),
    stop: () => server.stop(),
  };
}
