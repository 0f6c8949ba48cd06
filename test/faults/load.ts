/**
 * The fleet of a fault test, spread over all edges and both framings by the seed: orders, each with a porter
 * who sends locations, a backend and (where asked for) an app that publish durable events; and readers who
 * follow one or more orders. Some have left an order again, and another app has orders of the same names:
 * what is read of those is foreign. It says who must read what; judging is the verdict's.
 */
import { setInterval } from "node:timers/promises";
import { signToken } from "#services/token/sign-token.js";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import type { Cluster } from "#test/e2e/cluster.js";
import { ApiRing, ApiWriter } from "./api-writer.js";
import { ClientWriter } from "./client-writer.js";
import { Device, type DeviceOptions } from "./device.js";
import type { Ledger } from "./ledger.js";
import { Porter } from "./porter.js";
import type { Random } from "#test/support/random.js";

export interface LoadOptions {
  readonly orders: number;
  readonly readers: number;
  readonly durablePerSecond: number;
  readonly locationsPerSecond: number;
  /** How many of the durable events apps publish themselves: 0 to 1. */
  readonly clientShare: number;
  /** The type of the events that apps publish. */
  readonly clientType: string;
  /** How many readers do not tell their positions when they resume: 0 to 1. */
  readonly withoutPositions: number;
  /** How long the outcome of a write is asked for. */
  readonly deadlineMs: number;
}

/** Half of the durable events come over the API, half from apps. */
const CLIENT_SHARE = 0.5;

export const DEFAULT_LOAD: LoadOptions = {
  orders: 25,
  readers: 100,
  durablePerSecond: 50,
  locationsPerSecond: 200,
  clientShare: CLIENT_SHARE,
  clientType: "checked",
  withoutPositions: 0,
  deadlineMs: 30_000,
};

interface Order {
  readonly id: string;
  readonly channel: string;
  /** Who follows it, known before the first event. */
  readonly readers: Set<string>;
}

interface Writer {
  write(): boolean;
  settled(): Promise<void>;
}

const TICK_MS = 20;
/** How many devices connect at once. */
const CONNECTING = 10;

export class Load {
  readonly readers: Device[] = [];
  readonly porters: Porter[] = [];
  readonly #api: Writer[] = [];
  readonly #client: Writer[] = [];
  readonly #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** How often no writer was free when an event was due. */
  skipped = 0;

  private constructor(
    private readonly cluster: Cluster,
    readonly ledger: Ledger,
    private readonly random: Random,
    readonly options: LoadOptions,
  ) {}

  /** Resolves when everybody follows and writing has begun. */
  static async start(options: { cluster: Cluster; ledger: Ledger; random: Random; load: LoadOptions }) {
    const load = new Load(options.cluster, options.ledger, options.random, options.load);
    await load.#setUp();
    load.#running = load.#run();
    // Awaited by `finish`, where a failure is the test's.
    load.#running.catch(() => undefined);
    return load;
  }

  get devices(): readonly Device[] {
    return [...this.readers, ...this.porters.map(({ device }) => device)];
  }

  /** Ends the writing: every write has its outcome, every porter has sent one location more, its last. */
  async finish(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await Promise.all([...this.#api, ...this.#client].map((writer) => writer.settled()));
    for (const porter of this.porters) porter.sendLocation();
  }

  stop(): void {
    this.#stopping.abort();
    for (const device of this.devices) device.stop();
  }

  async #setUp(): Promise<void> {
    const { options, random } = this;
    const orders = Array.from({ length: options.orders }, (_, index): Order => {
      const id = `o${index}-${random.integer(0, 1e9).toString(36)}`;
      return { id, channel: `order:${id}`, readers: new Set() };
    });
    const jobs: (() => Promise<void>)[] = [];
    for (let index = 0; index < options.readers; index += 1) jobs.push(this.#reader(index, orders));
    for (const [index, order] of orders.entries()) jobs.push(this.#porter(index, order));
    await inTurns(jobs, CONNECTING);
    const apis = new ApiRing(this.cluster);
    for (const [index, order] of orders.entries()) {
      const given = { apis, ledger: this.ledger, deadlineMs: options.deadlineMs, random: random.branch() };
      const name = `backend-${index}`;
      this.#api.push(new ApiWriter({ ...given, ...order, name, app: this.cluster.app }));
      // The same name in another app: nobody here may read it.
      const elsewhere = { ...given, channel: order.channel, readers: new Set<string>() };
      if (index === 0) {
        this.#api.push(new ApiWriter({ ...elsewhere, name: "elsewhere", app: `${this.cluster.app}-2` }));
      }
    }
  }

  /** Draws its choices at once, so that they do not depend on who connects first. */
  #reader(index: number, orders: readonly Order[]): () => Promise<void> {
    const { random, options } = this;
    const name = `reader-${index}`;
    const isAdmin = index % 7 === 3;
    const first = orders[index % orders.length];
    const more = index % 4 === 0 ? [random.pick(orders)] : [];
    const followed = [...new Set([...(first === undefined ? [] : [first]), ...more])];
    const others = orders.filter((order) => !followed.includes(order));
    const left = index % 10 === 5 && others.length > 0 ? random.pick(others) : undefined;
    const tellsPositions = random.next() >= options.withoutPositions;
    const given = this.#deviceChoices(index);
    for (const order of followed) order.readers.add(name);
    return async () => {
      const device = await this.#open(name, isAdmin ? "admin" : "customer", { ...given, tellsPositions });
      const joined = left === undefined ? followed : [...followed, left];
      if (!isAdmin) for (const order of joined) await this.cluster.grant(order.id, { [name]: "MEMBER" });
      for (const order of joined) await device.follow(order.channel);
      if (left !== undefined) await device.unfollow(left.channel);
      this.readers.push(device);
    };
  }

  #porter(index: number, order: Order): () => Promise<void> {
    const name = `porter-${index}`;
    const given = this.#deviceChoices(index);
    return async () => {
      const { options, ledger } = this;
      await this.cluster.grant(order.id, { [name]: "ASSIGNED" });
      const device = await this.#open(name, "porter", { ...given, tellsPositions: true });
      this.porters.push(new Porter(device, ledger.locationStream(name, order.channel, order.readers)));
      if (options.clientShare === 0) return;
      const { channel, readers } = order;
      const { deadlineMs, clientType: type } = options;
      this.#client.push(new ClientWriter({ name, channel, readers, device, ledger, deadlineMs, type }));
    };
  }

  #deviceChoices(index: number): Pick<DeviceOptions, "framing" | "random" | "edges"> {
    const random = this.random.branch();
    const first = random.integer(0, this.cluster.edges.length);
    return {
      framing: index % 2 === 0 ? "protobuf" : "json",
      random,
      edges: () => {
        const urls = this.cluster.edges.map((_, edge) => this.cluster.socketUrl(edge));
        return [...urls.slice(first), ...urls.slice(0, first)];
      },
    };
  }

  async #open(
    name: string,
    role: string,
    given: Pick<DeviceOptions, "framing" | "random" | "edges" | "tellsPositions">,
  ): Promise<Device> {
    const { app, jwtSecret: secret } = this.cluster;
    const token = await signToken(
      { sub: name, role, app, ttlSeconds: 3600 },
      { ...DEFAULT_JWT_OPTIONS, secret },
    );
    const record = this.ledger.reader(name, { allowRepeats: !given.tellsPositions });
    const device = new Device({ ...given, name, token, record });
    await device.open();
    return device;
  }

  async #run(): Promise<void> {
    const { durablePerSecond, locationsPerSecond, clientShare } = this.options;
    const due = { api: 0, client: 0, locations: 0 };
    const perSecond = {
      api: durablePerSecond * (1 - clientShare),
      client: durablePerSecond * clientShare,
      locations: locationsPerSecond,
    };
    let lastMs = performance.now();
    let porter = 0;
    try {
      for await (const porters of setInterval(TICK_MS, this.porters, { signal: this.#stopping.signal })) {
        const nowMs = performance.now();
        // What a stall of this process left undone is not made up for: that would be a burst.
        const seconds = Math.min(nowMs - lastMs, 5 * TICK_MS) / 1000;
        lastMs = nowMs;
        for (const kind of ["api", "client", "locations"] as const) due[kind] += perSecond[kind] * seconds;
        for (; due.api >= 1; due.api -= 1) this.#writeOne(this.#api);
        for (; due.client >= 1; due.client -= 1) this.#writeOne(this.#client);
        for (; due.locations >= 1; due.locations -= 1) {
          porters[porter++ % porters.length]?.sendLocation();
        }
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    }
  }

  /** By a random writer; by the next one that is free where that one is still busy. */
  #writeOne(writers: readonly Writer[]): void {
    const first = this.random.integer(0, writers.length);
    const isWritten = writers.some((_, index) => writers[(first + index) % writers.length]?.write());
    if (!isWritten) this.skipped += 1;
  }
}

/** Runs all jobs, so many at once. */
async function inTurns(jobs: readonly (() => Promise<void>)[], atOnce: number): Promise<void> {
  const waiting = [...jobs];
  const work = async (): Promise<void> => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) await job();
  };
  await Promise.all(Array.from({ length: atOnce }, work));
}
