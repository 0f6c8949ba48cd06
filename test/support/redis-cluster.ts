/**
 * A Redis Cluster for tests: three masters that share the slots evenly, without replicas, so that a master's
 * slots are away while it is. A master that is away for longer than the node time-out takes the cluster down
 * whole (`cluster-require-full-coverage`, as by default). It comes back with its data where it was started
 * with them (`--appendonly`).
 */
import { Redis } from "ioredis";
import { freePorts } from "./free-port.js";
import { startRedis, type RunningRedis } from "./redis.js";
import { waitFor } from "./wait-for.js";

const SLOTS = 16_384;
const MASTERS = 3;

export interface RedisClusterOptions {
  /** Further arguments of every master. */
  readonly args?: readonly string[];
  /** After so long without an answer a master counts as failed. Default 2000. */
  readonly nodeTimeoutMs?: number;
}

interface NodePorts {
  readonly port: number;
  readonly busPort: number;
}

export class RedisCluster {
  readonly #args: readonly string[];
  readonly #nodes: { readonly ports: NodePorts; running: RunningRedis }[] = [];

  private constructor(options: RedisClusterOptions) {
    const timeout = ["--cluster-node-timeout", String(options.nodeTimeoutMs ?? 2_000)];
    // A node that met no other does not know its own address.
    const own = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"];
    this.#args = [...own, ...timeout, ...(options.args ?? [])];
  }

  static async start(options: RedisClusterOptions = {}): Promise<RedisCluster> {
    const cluster = new RedisCluster(options);
    try {
      for (let index = 0; index < MASTERS; index++) {
        const { port, busPort } = await freePorts("port", "busPort");
        const running = await cluster.#run({ port, busPort });
        cluster.#nodes.push({ ports: { port, busPort }, running });
      }
      await cluster.#join();
      await cluster.untilOk();
    } catch (error) {
      await cluster.stop();
      throw error;
    }
    return cluster;
  }

  /** As the Redis client wants them: all of them. */
  get addresses(): readonly { readonly host: string; readonly port: number }[] {
    return this.#nodes.map(({ ports }) => ({ host: "127.0.0.1", port: ports.port }));
  }

  /** The variables of a fanout that uses it. */
  get env(): Readonly<Record<string, string>> {
    return { REDIS_CLUSTER_NODES: this.addresses.map(({ host, port }) => `${host}:${port}`).join(",") };
  }

  get size(): number {
    return MASTERS;
  }

  /** Which master holds a slot, while no slot has been moved. */
  masterOf(slot: number): number {
    return Math.min(MASTERS - 1, Math.floor((slot * MASTERS) / SLOTS));
  }

  /** `kill -9`. */
  async kill(index: number): Promise<void> {
    await this.#node(index).running.kill();
  }

  /** Starts a killed one again where it was, with what it had stored; waits until all slots are served. */
  async restart(index: number): Promise<void> {
    const node = this.#node(index);
    node.running = await this.#run(node.ports, node.running.folder);
    await this.untilOk();
  }

  /** Moves a slot, with its keys, to another master. */
  async moveSlot(slot: number, to: number): Promise<void> {
    const from = this.masterOf(slot);
    const source = connect(this.#node(from).ports.port);
    const target = connect(this.#node(to).ports.port);
    try {
      const [sourceId, targetId] = (
        await Promise.all([source, target].map((one) => one.cluster("MYID")))
      ).map(String);
      await target.call("CLUSTER", "SETSLOT", slot, "IMPORTING", sourceId ?? "");
      await source.call("CLUSTER", "SETSLOT", slot, "MIGRATING", targetId ?? "");
      const keys = await source.cluster("GETKEYSINSLOT", slot, 10_000);
      const { port } = this.#node(to).ports;
      if (keys.length > 0) await source.call("MIGRATE", "127.0.0.1", port, "", 0, 5_000, "KEYS", ...keys);
      for (const one of [target, source]) await one.call("CLUSTER", "SETSLOT", slot, "NODE", targetId ?? "");
    } finally {
      source.disconnect();
      target.disconnect();
    }
  }

  /** Every master says that all slots are served. */
  async untilOk(): Promise<void> {
    for (const { ports } of this.#nodes) {
      const client = connect(ports.port);
      try {
        await waitFor(
          async () => {
            const info = await client.cluster("INFO");
            return info.includes("cluster_state:ok") && info.includes(`cluster_known_nodes:${MASTERS}`);
          },
          {
            what: `the cluster to be whole for the master on port ${ports.port}`,
            timeoutMs: 30_000,
            pollMs: 20,
          },
        );
      } finally {
        client.disconnect();
      }
    }
  }

  async stop(): Promise<void> {
    await Promise.all(this.#nodes.map(({ running }) => running.kill()));
  }

  #run({ port, busPort }: NodePorts, folder?: string): Promise<RunningRedis> {
    const args = [...this.#args, "--cluster-port", String(busPort)];
    return startRedis({ port, args, ...(folder !== undefined && { folder }) });
  }

  async #join(): Promise<void> {
    for (const [index, { ports }] of this.#nodes.entries()) {
      const client = connect(ports.port);
      try {
        await client.call("CLUSTER", "ADDSLOTSRANGE", firstSlot(index), firstSlot(index + 1) - 1);
        // Epochs of their own, or the masters would first have to settle who is older.
        await client.call("CLUSTER", "SET-CONFIG-EPOCH", index + 1);
        for (const other of this.#nodes.slice(0, index)) {
          await client.call("CLUSTER", "MEET", "127.0.0.1", other.ports.port, other.ports.busPort);
        }
      } finally {
        client.disconnect();
      }
    }
  }

  #node(index: number): { readonly ports: NodePorts; running: RunningRedis } {
    const node = this.#nodes[index];
    if (node === undefined) throw new Error(`there is no master ${index}`);
    return node;
  }
}

function firstSlot(master: number): number {
  return Math.ceil((master * SLOTS) / MASTERS);
}

function connect(port: number): Redis {
  const client = new Redis({ port, host: "127.0.0.1" });
  client.on("error", () => undefined);
  return client;
}
