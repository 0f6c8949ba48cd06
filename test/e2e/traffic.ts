/**
 * Steady traffic through a cluster, for tests that break something under it: porters on all edges send
 * locations and a backend publishes statuses, customers (JSON) and admins (protobuf) on all edges follow.
 * It says whether locations flow to everybody, and at the end holds what each app got against what was promised.
 */
import { randomUUID } from "node:crypto";
import { expect } from "vitest";
import { ErrorCode } from "#proto/gen/realtime/client/v1/errors.js";
import type { ServerFrame } from "#proto/gen/realtime/client/v1/server_frame.js";
import type { ApiClient } from "#test/contract/api-client.js";
import type { AppClient } from "#test/support/app-client.js";
import { waitFor } from "#test/support/wait-for.js";
import type { Cluster } from "./cluster.js";

export interface TrafficOptions {
  /** Each has a porter, a customer and an admin. */
  readonly orders?: number;
  /** The fanout whose API the statuses are published through; absent: none are. */
  readonly statusesThrough?: number;
}

interface Order {
  readonly id: string;
  readonly channel: string;
  readonly porter: AppClient;
  readonly followers: readonly Follower[];
  /** Of each frame that the porter sent. */
  readonly sent: number[];
  statuses: number;
}

const LOCATION_EVERY_MS = 40;
const STATUS_EVERY_MS = 60;
/** Latitudes carry the number of the location: up to 90,000. */
const STEP = 0.001;

/** What one app saw of its order. */
class Follower {
  readonly locations: number[] = [];
  readonly statuses: number[] = [];
  #read = 0;

  constructor(
    readonly client: AppClient,
    readonly name: string,
    readonly channel: string,
  ) {}

  /** Takes note of the frames that came since the last call. */
  catchUp(): void {
    for (; this.#read < this.client.frames.length; this.#read += 1)
      this.#note(this.client.frames[this.#read]);
  }

  get newest(): number {
    this.catchUp();
    return this.locations.at(-1) ?? 0;
  }

  #note(frame: ServerFrame | undefined): void {
    if (frame?.body?.$case !== "event" || frame.body.value.channel !== this.channel) return;
    const { body } = frame.body.value;
    if (body?.$case === "location") this.locations.push(Math.round(body.value.latitude / STEP));
    if (body?.$case === "orderStatus") this.statuses.push(Number(body.value.status));
  }
}

export class Traffic {
  readonly orders: Order[] = [];
  readonly #api: ApiClient | undefined;
  readonly #timers: NodeJS.Timeout[] = [];
  #publishing: Promise<unknown> = Promise.resolve();
  #isPublishing = false;

  private constructor(
    private readonly cluster: Cluster,
    options: TrafficOptions,
  ) {
    this.#api = options.statusesThrough === undefined ? undefined : cluster.api(options.statusesThrough);
  }

  /** Resolves when everybody follows and locations flow. */
  static async start(cluster: Cluster, options: TrafficOptions = {}): Promise<Traffic> {
    const traffic = new Traffic(cluster, options);
    for (let index = 0; index < (options.orders ?? 6); index += 1) await traffic.#addOrder(index);
    traffic.#timers.push(setInterval(() => traffic.#sendLocations(), LOCATION_EVERY_MS));
    if (traffic.#api !== undefined) {
      traffic.#timers.push(setInterval(() => traffic.#publishStatuses(), STATUS_EVERY_MS));
    }
    await traffic.untilItFlows(10_000);
    return traffic;
  }

  get clients(): readonly AppClient[] {
    return this.orders.flatMap(({ porter, followers }) => [porter, ...followers.map(({ client }) => client)]);
  }

  /** Resolves when everybody got a location that was sent after this call. */
  async untilItFlows(timeoutMs: number): Promise<void> {
    const marks = this.orders.map(({ sent }) => sent.length);
    const behind = (): string[] =>
      this.orders.flatMap(({ followers }, index) =>
        followers.filter(({ newest }) => newest <= (marks[index] ?? 0)).map(({ name }) => name),
      );
    await waitFor(() => behind().length === 0, { what: "newer locations for everybody", timeoutMs }).catch(
      (error: unknown) => {
        throw new Error(`${String(error)}; none for ${behind().join(", ")}`, { cause: error });
      },
    );
  }

  /** Publishes the next status of an order; the test waits for it itself. */
  async publishStatus(order: Order, api: ApiClient): Promise<void> {
    order.statuses += 1;
    await api.publish([this.#status(order)]);
  }

  /**
   * Ends the traffic, and checks what every app saw of it from its beginning. `mayBeRefused`: frames may have
   * been answered `internal`, as those are that were in flight when two fanouts died.
   */
  async stopAndCheck(options: { mayBeRefused?: boolean } = {}): Promise<void> {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
    await this.#publishing;
    for (const { porter, sent, followers, statuses } of this.orders) {
      await waitFor(() => answersOf(porter).size >= sent.length, {
        what: `answers to all ${sent.length} frames of a porter`,
        timeoutMs: 15_000,
      });
      for (const follower of followers) {
        const { name } = follower;
        await waitFor(() => follower.newest === sent.length && follower.statuses.length >= statuses, {
          what: `location ${sent.length} and status ${statuses} at ${name}`,
          timeoutMs: 15_000,
        }).catch((error: unknown) => {
          const { newest, statuses: seen } = follower;
          throw new Error(`${String(error)}; it has ${newest} and ${seen.join()}`, { cause: error });
        });
        expect(follower.statuses, `statuses at ${name}`).toEqual(numbersTo(statuses));
        const { locations } = follower;
        expect(locations, `locations at ${name}`).toEqual([...locations].sort((left, right) => left - right));
      }
      const answers = answersOf(porter);
      const wanted =
        options.mayBeRefused === true ? ["reply", `error ${ErrorCode.ERROR_CODE_INTERNAL}`] : ["reply"];
      for (const id of sent) {
        expect(answers.get(id), `answers to frame ${id}`).toHaveLength(1);
        expect(wanted).toContain(answers.get(id)?.[0]);
      }
    }
    for (const client of this.clients) expect(client.closedWith).toBeUndefined();
  }

  stop(): void {
    for (const timer of this.#timers.splice(0)) clearInterval(timer);
  }

  async #addOrder(index: number): Promise<void> {
    const { cluster } = this;
    const id = randomUUID();
    const channel = `order:${id}`;
    const [porterId, customerId] = [`porter-${id}`, `customer-${id}`];
    await cluster.grant(id, { [porterId]: "ASSIGNED", [customerId]: "OWNER" });
    const edges = cluster.edges.length;
    const porter = await cluster.connect(index % edges, porterId, "porter", { framing: "protobuf" });
    const customer = await cluster.connect((index + 1) % edges, customerId, "customer", { framing: "json" });
    const admin = await cluster.connect(index % edges, `admin-${id}`, "admin", { framing: "protobuf" });
    const followers = [
      new Follower(customer, `the customer of order ${index}`, channel),
      new Follower(admin, `the admin of order ${index}`, channel),
    ];
    for (const { client } of followers) await client.subscribe(channel);
    this.orders.push({ id, channel, porter, followers, sent: [], statuses: 0 });
  }

  #sendLocations(): void {
    for (const { porter, sent } of this.orders) {
      const latitude = (sent.length + 1) * STEP;
      const value = { latitude, longitude: 2, timestampMs: 0, orderId: "" };
      sent.push(porter.send({ $case: "locationUpdate", value }));
    }
  }

  #publishStatuses(): void {
    const api = this.#api;
    if (api === undefined || this.#isPublishing) return;
    this.#isPublishing = true;
    for (const order of this.orders) order.statuses += 1;
    this.#publishing = api
      .publish(this.orders.map((order) => this.#status(order)))
      .finally(() => (this.#isPublishing = false));
    // Awaited at the end, where a failure is the test's.
    this.#publishing.catch(() => undefined);
  }

  #status(order: Order) {
    const status = { order_id: order.id, status: String(order.statuses) };
    return { app: this.cluster.app, channel: order.channel, event: { order_status: status } };
  }
}

/** With what each frame was answered. */
function answersOf(client: AppClient): ReadonlyMap<number, readonly string[]> {
  const answers = new Map<number, string[]>();
  for (const { replyTo, body } of client.frames) {
    if (replyTo === 0 || body === undefined) continue;
    const answer = body.$case === "error" ? `error ${body.value.code}` : body.$case;
    answers.set(replyTo, [...(answers.get(replyTo) ?? []), answer]);
  }
  return answers;
}

function numbersTo(last: number): number[] {
  return Array.from({ length: last }, (_, index) => index + 1);
}
