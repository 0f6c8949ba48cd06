/**
 * A contestant's server in plain JavaScript, run by Node alone, with a channel to this process: it says when
 * it listens, publishes what it is told, and ends with this process however that ends.
 */
import { fileURLToPath } from "node:url";
import { freePort } from "#test/support/free-port.js";
import { GuardedProcess } from "#test/support/guarded-process.js";
import { waitFor, within } from "#test/support/wait-for.js";
import type { Endpoint } from "../contestant.js";
import type { LocationPayload } from "./backend-location.js";

const START_TIMEOUT_MS = 20_000;
const PUBLISH_TIMEOUT_MS = 10_000;

export interface NodeServerOptions {
  readonly name: string;
  /** A file of this folder. */
  readonly file: string;
  /** Its whole environment beside PATH and PORT. */
  readonly env?: Readonly<Record<string, string>>;
}

/** What a server says on its channel. */
interface ServerMessage {
  readonly listening?: number;
  readonly published?: number;
}

export class NodeServer {
  readonly #process: GuardedProcess;
  readonly #name: string;
  /** What waits for its answer, by number. */
  readonly #publishing = new Map<number, () => void>();
  #published = 0;
  #isListening = false;

  private constructor(
    readonly endpoint: Endpoint,
    { name, file, env }: NodeServerOptions,
  ) {
    this.#name = name;
    this.#process = new GuardedProcess({
      name,
      command: process.execPath,
      args: [fileURLToPath(new URL(file, import.meta.url))],
      env: {
        PATH: process.env["PATH"] ?? "",
        NODE_ENV: "production",
        PORT: String(endpoint.port),
        ...env,
      },
      onMessage: (message) => this.#received(message as ServerMessage),
    });
  }

  /** Resolves when it listens. */
  static async start(options: NodeServerOptions): Promise<NodeServer> {
    const server = new NodeServer({ host: "127.0.0.1", port: await freePort() }, options);
    try {
      await waitFor(() => server.#isListening || server.#process.exit !== undefined, {
        what: `${options.name} to listen`,
        timeoutMs: START_TIMEOUT_MS,
      });
      server.#process.assertRunning();
    } catch (error) {
      await server.stop();
      throw error;
    }
    return server;
  }

  get pid(): number {
    return this.#process.pid;
  }

  /** Resolves when the server has handed it to its sockets. */
  async publish(room: string, payload: LocationPayload): Promise<void> {
    this.#process.assertRunning();
    this.#published += 1;
    const id = this.#published;
    const answered = new Promise<void>((resolve) => this.#publishing.set(id, resolve));
    this.#process.send({ id, room, payload: { ...payload } });
    try {
      await within(answered, PUBLISH_TIMEOUT_MS);
    } catch (error) {
      this.#process.assertRunning();
      throw new Error(`${this.#name} did not publish: ${String(error)}`, { cause: error });
    } finally {
      this.#publishing.delete(id);
    }
  }

  /** Its sockets end without a word. */
  async stop(): Promise<void> {
    await this.#process.kill();
  }

  #received({ listening, published }: ServerMessage): void {
    if (listening !== undefined) this.#isListening = true;
    if (published !== undefined) this.#publishing.get(published)?.();
  }
}
