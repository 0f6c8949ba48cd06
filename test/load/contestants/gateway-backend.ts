/**
 * The backend services of the benchmark: lets users take part in orders and publishes, over gRPC, with a
 * client per fanout. Every item that is not taken is an error.
 */
import { credentials } from "@grpc/grpc-js";
import { ApiClient, type Json } from "#test/contract/api-client.js";
import type { BackendEvent, ClientPlan } from "../contestant.js";
import { accuracyTextOf } from "../send-time.js";
import { backendLocation } from "./backend-location.js";
import { StatusStream } from "./status-stream.js";

/** The API takes no more in a call. */
const MAX_ITEMS = 1000;
const GRANT_TIMEOUT_MS = 60_000;

interface ItemResult {
  readonly outcome?: string;
  readonly error: object | null;
}

export interface StatusOptions {
  /** Which one is called. Default 0. */
  readonly fanout?: number;
}

export class GatewayBackend {
  readonly #app: string;
  readonly #clients: readonly ApiClient[];

  constructor(options: {
    readonly app: string;
    readonly token: string;
    readonly addresses: readonly string[];
  }) {
    this.#app = options.app;
    this.#clients = options.addresses.map(
      (address) =>
        new ApiClient({ address, credentials: credentials.createInsecure(), token: options.token }),
    );
  }

  /** Senders work on the order of their room, the others belong to it. */
  async grant(clients: readonly ClientPlan[]): Promise<void> {
    for (let start = 0; start < clients.length; start += MAX_ITEMS) {
      const participations = clients
        .slice(start, start + MAX_ITEMS)
        .map(({ userId, room, isSender }): Json => ({
          app: this.#app,
          channel: `order:${room}`,
          user_id: userId,
          relation: isSender ? "RELATION_ASSIGNED" : "RELATION_MEMBER",
        }));
      const client = this.#client(start / MAX_ITEMS);
      const settings = { timeoutMs: GRANT_TIMEOUT_MS };
      const { response } = await client.call("ParticipationService", "Grant", { participations }, settings);
      assertTaken("granting", response["results"]);
    }
  }

  /** One call with one location: a `latest` event, as those of workers. */
  async publishLocation(event: BackendEvent): Promise<void> {
    const { orderId, workerId, timestamp, ...measured } = backendLocation(event);
    const location = { ...measured, worker_id: workerId, order_id: orderId, measured_at_ms: timestamp };
    await this.#publish([{ app: this.#app, channel: `order:${event.room}`, event: { location } }], 0);
  }

  /**
   * One call with durable order statuses, 1 to 1,000, each with an idempotency key. The send time is the message,
   * as text.
   */
  async publishStatuses(events: readonly BackendEvent[], options: StatusOptions = {}): Promise<void> {
    const items = events.map((event) => this.#statusItem(event));
    await this.#publish(items, options.fanout ?? 0);
  }

  /** The same in a stream, which stays open until it is ended: requests with 1 to 1,000 of them. */
  openStatuses(options: StatusOptions = {}): StatusStream {
    const stream = this.#client(options.fanout ?? 0).publishStream();
    return new StatusStream(stream, {
      itemOf: (event) => this.#statusItem(event),
      assertTaken: (results) => assertTaken("publishing", results),
    });
  }

  close(): void {
    for (const client of this.#clients) client.close();
  }

  async #publish(items: readonly Json[], fanout: number): Promise<void> {
    const { response } = await this.#client(fanout).publish(items);
    assertTaken("publishing", response["results"]);
  }

  #statusItem({ room, sentAtUs, sequence }: BackendEvent): Json {
    const message = accuracyTextOf(sentAtUs);
    return {
      app: this.#app,
      channel: `order:${room}`,
      event: { order_status: { order_id: room, status: "picked_up", message } },
      idempotency_key: `status-${sequence}`,
    };
  }

  #client(index: number): ApiClient {
    const client = this.#clients[index % this.#clients.length];
    if (client === undefined) throw new Error("there is no fanout");
    return client;
  }
}

function assertTaken(what: string, results: unknown): void {
  const refused = (results as readonly ItemResult[]).filter(
    ({ outcome, error }) =>
      error !== null || (outcome !== undefined && outcome !== "PUBLISH_OUTCOME_PUBLISHED"),
  );
  if (refused.length === 0) return;
  throw new Error(`${what} failed for ${refused.length} items, as ${JSON.stringify(refused[0])}`);
}
