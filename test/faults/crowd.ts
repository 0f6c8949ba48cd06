/**
 * Thousands of apps beside the fleet, each on one quiet order, at addresses of their own so that they are not
 * one client to an edge. A backend writes a little to their orders all the time: also while they are away.
 */
import { setInterval } from "node:timers/promises";
import { DEFAULT_JWT_OPTIONS } from "#edge/auth/jwt-verifier.js";
import { signToken } from "#services/token/sign-token.js";
import { waitFor } from "#test/support/wait-for.js";
import { ApiRing, ApiWriter } from "./api-writer.js";
import { Device } from "./device.js";
import type { FaultContext } from "./scenario.js";

export interface CrowdOptions {
  readonly size: number;
  readonly perOrder: number;
  readonly writesPerSecond: number;
}

/** Set-ups under way at once. */
const CONNECTING = 50;
const ADDRESSES = 200;

export class Crowd {
  readonly devices: Device[] = [];
  readonly #writers: ApiWriter[] = [];
  readonly #stopping = new AbortController();
  #writing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly context: Omit<FaultContext, "load">,
    private readonly options: CrowdOptions,
  ) {}

  /** Resolves when all follow their orders; the scenario ends it. */
  static async gather(context: Omit<FaultContext, "load">, options: CrowdOptions): Promise<Crowd> {
    const crowd = new Crowd(context, options);
    context.finishing.push(() => crowd.#finish());
    context.stopping.push(() => crowd.#stop());
    await crowd.#connect();
    crowd.#writing = crowd.#write();
    crowd.#writing.catch(() => undefined);
    return crowd;
  }

  /** Drops all at once; resolves when all are back. */
  async dropAll(timeoutMs: number): Promise<void> {
    const before = this.devices.map(({ sockets }) => sockets);
    for (const device of this.devices) device.drop();
    const away = (): number =>
      this.devices.filter(({ sockets }, index) => sockets === (before[index] ?? 0)).length;
    await waitFor(() => away() === 0, { what: "everybody to be back", timeoutMs, pollMs: 50 }).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}; ${away()} are away`, { cause: error });
      },
    );
  }

  async #connect(): Promise<void> {
    const { cluster, ledger, random } = this.context;
    const apis = new ApiRing(cluster);
    const names = Array.from({ length: this.options.size }, (_, index) => `crowd-${index}`);
    const jobs: (() => Promise<void>)[] = [];
    for (let start = 0; start < names.length; start += this.options.perOrder) {
      const members = names.slice(start, start + this.options.perOrder);
      const id = `crowd-${start}-${random.integer(0, 1e9).toString(36)}`;
      const channel = `order:${id}`;
      await cluster.grant(id, Object.fromEntries(members.map((name) => [name, "MEMBER" as const])));
      const readers = new Set(members);
      const given = { app: cluster.app, channel, readers, apis, ledger, random: random.branch() };
      this.#writers.push(new ApiWriter({ ...given, name: `to-crowd-${start}`, deadlineMs: 15_000 }));
      for (const [index, name] of members.entries())
        jobs.push(() => this.#join(start + index, name, channel));
    }
    const work = async (): Promise<void> => {
      for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job();
    };
    await Promise.all(Array.from({ length: CONNECTING }, work));
  }

  async #join(index: number, name: string, channel: string): Promise<void> {
    const { cluster, ledger, random } = this.context;
    const subject = { sub: name, role: "customer", app: cluster.app, ttlSeconds: 3600 };
    const urls = cluster.edges.map((_, edge) => cluster.socketUrl(edge));
    const device = new Device({
      ...{ name, random, tellsPositions: true, record: ledger.reader(name) },
      token: await signToken(subject, { ...DEFAULT_JWT_OPTIONS, secret: cluster.jwtSecret }),
      framing: index % 2 === 0 ? "json" : "protobuf",
      edges: () => (index % 4 < 2 ? urls : [...urls].reverse()),
      localAddress: `127.0.1.${1 + (index % ADDRESSES)}`,
    });
    this.devices.push(device);
    await device.open();
    await device.follow(channel);
  }

  async #write(): Promise<void> {
    const { random } = this.context;
    const intervalMs = 1000 / this.options.writesPerSecond;
    try {
      for await (const writers of setInterval(intervalMs, this.#writers, { signal: this.#stopping.signal })) {
        random.pick(writers).write();
      }
    } catch (error) {
      if (!this.#stopping.signal.aborted) throw error;
    }
  }

  async #finish(): Promise<void> {
    this.#stopping.abort();
    await this.#writing;
    await Promise.all(this.#writers.map((writer) => writer.settled()));
  }

  #stop(): void {
    this.#stopping.abort();
    for (const device of this.devices) device.stop();
  }
}
