/**
 * Sharded subscriptions over one client. What is followed survives reconnects: after each, everything is
 * subscribed again and its followers are told, since pub/sub lost what was sent meanwhile. Subscriptions
 * asked for within one turn go out together, one command for each partition (in Cluster: one slot).
 */
import { Redis } from "ioredis";
import { GatewayError } from "#proto/errors.js";
import type { Partition } from "./partitions.js";
import type { RedisClient } from "./redis-clients.js";

export interface Subscription {
  readonly partition: Partition;
  onMessage(message: Buffer): void;
  /** The way was interrupted and is back. */
  onResubscribed(): void;
}

interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

const CHANNELS_PER_COMMAND = 256;
/** A connection that is only listened to would not notice a peer that is gone. */
const PING_INTERVAL_MS = 5_000;
const REPEAT_AFTER_MS = 500;

export class RedisSubscriber {
  readonly #client: RedisClient;
  readonly #onFault: (what: string, error: unknown) => void;
  readonly #subscriptions = new Map<string, Subscription>();
  /** Asked for in this turn: bounded by what callers follow. */
  readonly #toSubscribe = new Map<string, Waiter>();
  readonly #toUnsubscribe = new Map<string, Partition>();
  /** In Cluster: what could not be subscribed again, until the next try. */
  readonly #toRepeat = new Set<string>();
  readonly #pingTimer: NodeJS.Timeout;
  #repeatTimer: NodeJS.Timeout | undefined;
  /** Commands to subscribe that were sent; each may name many channels. */
  commands = 0;
  #isFlushScheduled = false;
  #hasBeenReady = false;
  #isClosed = false;

  constructor(client: RedisClient, onFault: (what: string, error: unknown) => void) {
    this.#client = client;
    this.#onFault = onFault;
    client.on("smessageBuffer", (name: Buffer, message: Buffer) => this.#dispatch(name, message));
    // In Cluster each shard has its own connection, whose errors are told by this name, and ioredis says when
    // the set of them is whole again.
    client.on(client instanceof Redis ? "error" : "nodeError", (error: unknown) => this.#onError(error));
    client.on(client instanceof Redis ? "ready" : "subscribersReady", () => this.#onReady());
    this.#pingTimer = setInterval(() => this.#ping(), PING_INTERVAL_MS);
    this.#pingTimer.unref();
  }

  /**
   * Resolves once messages arrive.
   * @throws GatewayError unavailable while Redis is away: then nothing is subscribed.
   */
  async subscribe(name: string, subscription: Subscription): Promise<void> {
    if (this.#subscriptions.has(name)) throw new Error("a channel is followed twice by one broker");
    if (this.#client.status !== "ready") throw unavailable();
    this.#subscriptions.set(name, subscription);
    this.#toUnsubscribe.delete(name);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#toSubscribe.set(name, { resolve, reject });
        this.#scheduleFlush();
      });
    } catch (error) {
      if (this.#subscriptions.get(name) === subscription) this.unsubscribe(name);
      throw unavailable(error);
    }
  }

  unsubscribe(name: string): void {
    const subscription = this.#subscriptions.get(name);
    if (!subscription) return;
    this.#subscriptions.delete(name);
    this.#toSubscribe.get(name)?.resolve();
    this.#toSubscribe.delete(name);
    this.#toUnsubscribe.set(name, subscription.partition);
    this.#scheduleFlush();
  }

  close(): void {
    this.#isClosed = true;
    clearInterval(this.#pingTimer);
    clearTimeout(this.#repeatTimer);
    this.#subscriptions.clear();
    this.#toUnsubscribe.clear();
    for (const waiter of this.#toSubscribe.values()) waiter.reject(new Error("closed"));
    this.#toSubscribe.clear();
  }

  #dispatch(name: Buffer, message: Buffer): void {
    const subscription = this.#subscriptions.get(name.toString("latin1"));
    if (!subscription) return;
    try {
      subscription.onMessage(message);
    } catch (error) {
      this.#onFault("a listener of a channel threw", error);
    }
  }

  #scheduleFlush(): void {
    if (this.#isFlushScheduled) return;
    this.#isFlushScheduled = true;
    setImmediate(() => {
      this.#isFlushScheduled = false;
      this.#flush();
    });
  }

  #flush(): void {
    if (this.#isClosed) return;
    const gone = [...this.#toUnsubscribe].map(([name, partition]) => ({ name, partition }));
    this.#toUnsubscribe.clear();
    for (const names of inCommands(gone)) {
      // Where it fails the connection is gone, and with it the subscription.
      this.#client.sunsubscribe(...names).catch((error: unknown) => this.#onFault("sunsubscribe", error));
    }

    const waiters = new Map(this.#toSubscribe);
    this.#toSubscribe.clear();
    const wanted: Named[] = [];
    for (const name of waiters.keys()) {
      const subscription = this.#subscriptions.get(name);
      if (subscription) wanted.push({ name, partition: subscription.partition });
    }
    for (const names of inCommands(wanted)) {
      this.commands += 1;
      this.#client.ssubscribe(...names).then(
        () => names.forEach((name) => waiters.get(name)?.resolve()),
        (error: unknown) => names.forEach((name) => waiters.get(name)?.reject(error)),
      );
    }
  }

  #onReady(): void {
    if (!this.#hasBeenReady) {
      this.#hasBeenReady = true;
      return;
    }
    this.#subscribeAgain(this.#subscriptions.keys());
  }

  #subscribeAgain(again: Iterable<string>): void {
    const wanted = [...again].flatMap((name) => {
      const subscription = this.#subscriptions.get(name);
      return subscription ? [{ name, partition: subscription.partition }] : [];
    });
    for (const names of inCommands(wanted)) {
      this.commands += 1;
      // ioredis keeps a list of its own, in which a name would stand once for each time that it is asked for.
      if (!(this.#client instanceof Redis)) this.#client.sunsubscribe(...names).catch(() => undefined);
      this.#client.ssubscribe(...names).then(
        () => this.#tellResubscribed(names),
        (error: unknown) => this.#startAgain("subscribing again", error, names),
      );
    }
  }

  #tellResubscribed(names: readonly string[]): void {
    for (const name of names) {
      try {
        this.#subscriptions.get(name)?.onResubscribed();
      } catch (error) {
        this.#onFault("a listener of a channel threw", error);
      }
    }
  }

  #onError(error: unknown): void {
    // ioredis takes an unsolicited `sunsubscribe` (a slot moved away) for the answer to a command and says
    // this; answers may be mixed up from here on.
    if (error instanceof Error && error.message.startsWith("Command queue state error")) {
      this.#startAgain("unsolicited message", error);
    }
  }

  #ping(): void {
    if (!(this.#client instanceof Redis) || this.#client.status !== "ready") return;
    this.#client.ping().catch((error: unknown) => this.#startAgain("ping of the subscriber", error));
  }

  /**
   * A new connection is the one state that is known: its `ready` subscribes everything again. In Cluster the
   * other nodes' connections stay: what failed, or all where that is not known, is tried again.
   */
  #startAgain(what: string, error: unknown, names: Iterable<string> = this.#subscriptions.keys()): void {
    if (this.#isClosed) return;
    if (this.#client instanceof Redis) {
      this.#onFault(what, error);
      if (this.#client.status === "ready") this.#client.disconnect(true);
      return;
    }
    for (const name of names) this.#toRepeat.add(name);
    if (this.#repeatTimer !== undefined) return;
    this.#onFault(what, error);
    this.#client.refreshSlotsCache();
    this.#repeatTimer = setTimeout(() => this.#repeat(), REPEAT_AFTER_MS);
    this.#repeatTimer.unref();
  }

  #repeat(): void {
    this.#repeatTimer = undefined;
    const names = [...this.#toRepeat];
    this.#toRepeat.clear();
    if (!this.#isClosed) this.#subscribeAgain(names);
  }
}

interface Named {
  readonly name: string;
  readonly partition: Partition;
}

function inCommands(channels: readonly Named[]): string[][] {
  const byPartition = new Map<number, string[][]>();
  for (const { name, partition } of channels) {
    const commands = byPartition.get(partition.index) ?? [];
    byPartition.set(partition.index, commands);
    const last = commands.at(-1);
    if (last && last.length < CHANNELS_PER_COMMAND) last.push(name);
    else commands.push([name]);
  }
  return [...byPartition.values()].flat();
}

function unavailable(cause?: unknown): GatewayError {
  return new GatewayError("unavailable", "the store is away; try again", { retryAfterMs: 1_000, cause });
}
