/** Limits in Redis: one key for each bucket, beside its user's others, and one script that draws from it. */
import { limitKey } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { integerOf, listOf } from "#fanout/redis/reply.js";
import { loadScript } from "#fanout/redis/scripts.js";
import type { Draw, Drawn, Limits } from "./limits.js";

const DRAW = loadScript(import.meta.url, "./lua/draw-tokens.lua");

export class RedisLimits implements Limits {
  constructor(private readonly options: { readonly connection: RedisConnection }) {}

  async draw({ app, userId, limitClass, limit, wanted }: Draw): Promise<Drawn> {
    const { partition, key } = limitKey({ app, userId }, limitClass);
    const args = [limit.count, limit.windowMs, wanted];
    const reply = await this.options.connection.script(DRAW, { partition, keys: [key], args });
    const [granted, leftThousandths] = listOf(reply);
    return { granted: integerOf(granted), left: integerOf(leftThousandths) / 1000 };
  }
}
