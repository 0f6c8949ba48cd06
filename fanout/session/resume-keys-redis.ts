/**
 * The key of resume tokens in Redis: made once by the first gateway that comes, read by all others. It is
 * compared at an interval and after every reconnect: a Redis that was emptied gets the same key again, and one
 * that has another key gives it to this process, which accepts tokens of its earlier key besides.
 */
import { randomBytes } from "node:crypto";
import { RESUME_KEY } from "#fanout/redis/keys.js";
import type { RedisConnection } from "#fanout/redis/redis-connection.js";
import { RESUME_KEY_BYTES, type ResumeKeys } from "./resume-keys.js";

const COMPARE_MS = 10_000;

export class RedisResumeKeys implements ResumeKeys {
  readonly #connection: RedisConnection;
  readonly #timer: NodeJS.Timeout;
  readonly #stopHearing: () => void;
  #signing: Buffer;
  #earlier: Buffer | undefined;
  #wasUp = true;

  /** @throws GatewayError unavailable: without the key of the others no token would be good at them. */
  static async start(
    connection: RedisConnection,
    options: { readonly compareMs?: number } = {},
  ): Promise<RedisResumeKeys> {
    const mine: Buffer = randomBytes(RESUME_KEY_BYTES);
    const found = await compare(connection, mine);
    return new RedisResumeKeys(connection, found, options.compareMs ?? COMPARE_MS);
  }

  private constructor(connection: RedisConnection, signing: Buffer, compareMs: number) {
    this.#connection = connection;
    this.#signing = signing;
    this.#timer = setInterval(() => this.#compareSoon(), compareMs).unref();
    this.#stopHearing = connection.onChange(({ isUp }) => {
      if (isUp && !this.#wasUp) this.#compareSoon();
      this.#wasUp = isUp;
    });
  }

  get signing(): Buffer {
    return this.#signing;
  }

  get accepted(): readonly Buffer[] {
    return this.#earlier === undefined ? [this.#signing] : [this.#signing, this.#earlier];
  }

  /** Reads the key of all, or gives this process's one to a Redis that has none. @throws GatewayError unavailable. */
  async compare(): Promise<void> {
    const found = await compare(this.#connection, this.#signing);
    if (found.equals(this.#signing)) return;
    this.#earlier = this.#signing;
    this.#signing = found;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#stopHearing();
  }

  #compareSoon(): void {
    // While Redis is away the key that is known is as good as any.
    this.compare().catch(() => undefined);
  }
}

async function compare(connection: RedisConnection, mine: Buffer): Promise<Buffer> {
  const found = await connection.run(
    (client) => client.set(RESUME_KEY, mine.toString("base64url"), "NX", "GET"),
    "resume-key",
  );
  return found === null ? mine : Buffer.from(found, "base64url");
}
