/** Socket.IO 4 on two nodes with the Redis adapter, WebSocket alone: what the earlier gateways are. */
import { startRedis } from "#test/support/redis.js";
import type { Contestant, ContestantOptions, RunningContestant } from "../contestant.js";
import { backendLocation } from "./backend-location.js";
import { NodeServer } from "./node-server.js";
import { StartedParts } from "./started-parts.js";
import { UserTokens } from "./user-tokens.js";

const NAME = "Socket.IO";
const NODES = 2;

export const socketIo: Contestant = { name: NAME, start };

async function start(options: ContestantOptions): Promise<RunningContestant> {
  const parts = new StartedParts();
  try {
    const tokens = new UserTokens();
    const redis = parts.add(await startRedis(), (each) => each.kill());
    const env = { REDIS_URL: redis.url, JWT_SECRET: tokens.secret };
    const starts = Array.from({ length: options.edges ?? NODES }, (_, index) =>
      NodeServer.start({ name: `Socket.IO node ${index}`, file: "socket-io-server.mjs", env }),
    );
    const nodes = await parts.addAll(starts, (node) => node.stop());
    return {
      name: NAME,
      dialect: "socket-io",
      endpoints: nodes.map(({ endpoint }) => endpoint),
      processes: [...nodes.map(({ pid }) => ({ role: "node", pid })), { role: "redis", pid: redis.pid }],
      // Who has a token may join any room.
      admit: async () => undefined,
      credentials: (client) => tokens.of(client),
      publish: async (event) => nodes[0]?.publish(event.room, backendLocation(event)),
      stop: () => parts.stop(),
    };
  } catch (error) {
    await parts.stop();
    throw error;
  }
}
