/**
 * The fanout's way to Redis: one client for commands, one for subscriptions, their health, and the rule for
 * failures: every call either answers or fails with GatewayError `unavailable` within two command time-outs
 * (commands of one turn wait for those of the turn before), at once while Redis is known to be away. What Redis said is the error's cause and reaches no caller.
 */
import { Redis, ReplyError } from "ioredis";
import { GatewayError } from "#proto/errors.js";
import { CircuitBreaker } from "./circuit-breaker.js";
import type { Partition } from "./partitions.js";
import {
  commandClient,
  describeAddress,
  subscriberClient,
  type RedisArgument,
  type RedisClient,
  type RedisConnectionOptions,
} from "./redis-clients.js";
import { RedisSubscriber } from "./redis-subscriber.js";
import { checkSchema } from "./schema.js";
import type { RedisScript } from "./scripts.js";

export interface RedisStatus {
  /** Commands and subscriptions both work. */
  readonly isUp: boolean;
  /** Since it was last up. */
  readonly reconnectAttempts: number;
}

/** Told of what went wrong and was survived; for the log. `what` holds no data of users. */
export type FaultListener = (what: string, error: unknown) => void;

export interface ScriptCall {
  /** Undefined: of any, which a Cluster refuses. */
  readonly partition: Partition | undefined;
  /** All within the partition. */
  readonly keys: readonly string[];
  readonly args: readonly RedisArgument[];
}

/** So many time-outs in a row mean that the peer is gone or frozen. */
const BREAKER = { failureThreshold: 5, openMs: 1_000 };
const RETRY_AFTER_MS = 1_000;

export class RedisConnection {
  readonly subscriber: RedisSubscriber;
  readonly #client: RedisClient;
  readonly #subscriberClient: RedisClient;
  readonly #breaker = new CircuitBreaker(BREAKER);
  readonly #onFault: FaultListener;
  readonly #listeners = new Set<(status: RedisStatus) => void>();
  /** By the name of a script or a command: a closed set. */
  readonly #operations = new Map<string, number>();
  #reconnectAttempts = 0;
  #isOpen = false;
  #isClosed = false;

  /**
   * Connects and checks that this Redis can be used.
   * @throws Error that names REDIS_URL where it cannot be reached, is too old, or holds another key schema.
   */
  static async connect(
    options: RedisConnectionOptions,
    onFault: FaultListener = () => undefined,
  ): Promise<RedisConnection> {
    const connection = new RedisConnection(options, onFault);
    try {
      await withTimeout(connection.#open(), options.connectTimeoutMs ?? 5_000);
    } catch (error) {
      connection.close();
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(`REDIS_URL: cannot use Redis at ${describeAddress(options)}: ${reason}`, {
        cause: error,
      });
    }
    return connection;
  }

  private constructor(options: RedisConnectionOptions, onFault: FaultListener) {
    this.#onFault = onFault;
    this.#client = commandClient(options, (attempt) => {
      this.#reconnectAttempts = attempt;
      this.#announce();
    });
    this.#subscriberClient = subscriberClient(options);
    this.subscriber = new RedisSubscriber(this.#subscriberClient, onFault);
    for (const client of [this.#client, this.#subscriberClient]) {
      // Without a listener an 'error' event would end the process.
      client.on("error", (error: unknown) => this.#onFault("redis connection", error));
      client.on("close", () => this.#announce());
    }
    this.#client.on("ready", () => this.#onReady());
    this.#subscriberClient.on("ready", () => this.#announce());
  }

  /** Whether the keys of a script must lie in one partition. */
  get isCluster(): boolean {
    return !(this.#client instanceof Redis);
  }

  status(): RedisStatus {
    const isUp =
      this.#client.status === "ready" && this.#subscriberClient.status === "ready" && !this.#breaker.isOpen;
    return { isUp, reconnectAttempts: isUp ? 0 : this.#reconnectAttempts };
  }

  /** Hears every change of `isUp` and every attempt to reconnect. Returns how to stop hearing. */
  onChange(listener: (status: RedisStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How often each operation was sent to Redis. */
  operations(): ReadonlyMap<string, number> {
    return new Map([...this.#operations, ["ssubscribe", this.subscriber.commands]]);
  }

  /**
   * Runs commands; those of one turn of the event loop share a round trip. `operation` is what they are
   * counted under.
   */
  async run<T>(commands: (client: RedisClient) => Promise<T>, operation = "other"): Promise<T> {
    const waitMs = this.#client.status === "ready" ? this.#breaker.admit(Date.now()) : RETRY_AFTER_MS;
    if (waitMs > 0) throw unavailable(waitMs);
    this.#operations.set(operation, (this.#operations.get(operation) ?? 0) + 1);
    try {
      const answer = await commands(this.#client);
      if (this.#breaker.isOpen) {
        this.#breaker.succeeded();
        this.#announce();
      } else this.#breaker.succeeded();
      return answer;
    } catch (error) {
      this.#failed(error);
      throw unavailable(RETRY_AFTER_MS, error);
    }
  }

  /**
   * As `run`, but each for itself: undefined where it failed, as at a node of a Cluster that is away.
   * @throws GatewayError unavailable where all did.
   */
  runEach<T>(
    commands: readonly ((client: RedisClient) => Promise<T>)[],
    operation: string,
  ): Promise<readonly (T | undefined)[]> {
    return this.run(async (client) => {
      const settled = await Promise.allSettled(commands.map((command) => command(client)));
      const reasons = settled.flatMap((each) => (each.status === "rejected" ? [each.reason as unknown] : []));
      if (reasons.length > 0 && reasons.length === settled.length) throw reasons[0];
      if (!(client instanceof Redis) && reasons.some(isAboutNodes)) client.refreshSlotsCache();
      return settled.map((each) => (each.status === "fulfilled" ? each.value : undefined));
    }, operation);
  }

  /** Runs a script, whose keys must lie in one partition. Strings in its reply are Buffers. */
  async script(script: RedisScript, call: ScriptCall): Promise<unknown> {
    const { partition } = call;
    if (partition === undefined && this.isCluster)
      throw new Error("in Cluster a script must stay in a partition");
    for (const key of partition === undefined ? [] : call.keys) {
      if (!key.startsWith(partition?.prefix ?? "")) {
        throw new Error(`a script must stay in partition ${partition?.index}; a key lies elsewhere`);
      }
    }
    return this.run(async (client) => {
      try {
        return await client.evalshaBuffer(script.sha1, call.keys.length, ...call.keys, ...call.args);
      } catch (error) {
        if (!(error instanceof Error) || !error.message.startsWith("NOSCRIPT")) throw error;
        return client.evalBuffer(script.source, call.keys.length, ...call.keys, ...call.args);
      }
    }, script.name);
  }

  /** Redis's time, in microseconds since 1970. */
  async timeUs(): Promise<number> {
    const [seconds, microseconds] = await this.run((client) => client.time(), "time");
    return Number(seconds) * 1_000_000 + Number(microseconds);
  }

  /** Whether this is still a Redis that can be used; signs one that was emptied. A fault is told, not thrown. */
  async checkSchema(): Promise<void> {
    try {
      await checkSchema(this.#client);
    } catch (error) {
      this.#onFault("redis schema", error);
    }
  }

  /** Ends both connections at once; what is in flight fails. */
  close(): void {
    this.#isClosed = true;
    this.subscriber.close();
    this.#client.disconnect();
    this.#subscriberClient.disconnect();
  }

  async #open(): Promise<void> {
    let lastError: unknown;
    const remember = (error: unknown): void => {
      lastError = error;
    };
    this.#client.on("error", remember);
    this.#subscriberClient.on("error", remember);
    try {
      await Promise.all([this.#client.connect(), this.#subscriberClient.connect()]);
      await checkSchema(this.#client);
    } catch (error) {
      // ioredis says only "Connection is closed." where the event before said why.
      throw lastError instanceof Error && !(error instanceof GatewayError) ? lastError : error;
    } finally {
      this.#client.off("error", remember);
      this.#subscriberClient.off("error", remember);
    }
    this.#isOpen = true;
    this.#announce();
  }

  #onReady(): void {
    // The handshake was answered: there is nothing to wait for any more.
    this.#breaker.succeeded();
    this.#announce();
    if (!this.#isOpen) return;
    // A Redis that comes back may have lost its data, or be another one.
    void this.checkSchema();
  }

  #failed(error: unknown): void {
    if (!(this.#client instanceof Redis) && isAboutNodes(error)) {
      // One node of several: the others must not suffer for it.
      this.#client.refreshSlotsCache();
      return;
    }
    // An answer, even a refusal, proves that Redis is there.
    if (isReplyError(error)) return;
    if (!this.#breaker.failed(Date.now())) return;
    this.#onFault("redis does not answer", error);
    this.#announce();
    // A peer that vanished without a word would hold the connections for many minutes. In Cluster the
    // subscriptions may be at another node.
    const nodes = this.#client instanceof Redis ? [this.#client] : this.#client.nodes("all");
    if (this.#subscriberClient instanceof Redis) nodes.push(this.#subscriberClient);
    for (const node of nodes) if (node.status === "ready") node.disconnect(true);
  }

  #announce(): void {
    if (this.#isClosed) return;
    const status = this.status();
    if (status.isUp) this.#reconnectAttempts = 0;
    for (const listener of this.#listeners) listener(status);
  }
}

function isReplyError(error: unknown): boolean {
  return typeof ReplyError === "function" && error instanceof ReplyError;
}

/** In Cluster: a node is away, or a slot is served by another one than was thought. */
function isAboutNodes(error: unknown): boolean {
  return error instanceof Error && /^(MOVED|CLUSTERDOWN|Connection is closed)/.test(error.message);
}

function unavailable(retryAfterMs: number, cause?: unknown): GatewayError {
  return new GatewayError("unavailable", "the store is away; try again", { retryAfterMs, cause });
}

async function withTimeout(work: Promise<void>, timeoutMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const expiry = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
  });
  try {
    await Promise.race([work, expiry]);
  } finally {
    clearTimeout(timer);
  }
}
