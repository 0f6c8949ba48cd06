/**
 * What the benchmark compares: somebody's way to bring an event from one client to the others of its room.
 * A contestant starts its processes, lets clients into rooms, and says which processes cost what; how its
 * clients speak is the generator's to know (`dialect`).
 */

/**
 * How clients speak on the wire; each is written down whole in `generator/*-dialect.ts`. In short:
 * - socket-io: `["join", orderId]` with an ack (`{joined}`); then `["location", {orderId, latitude, longitude,
 *   heading, speed, accuracy, timestamp}]`, and back `["location_update", {…the same, workerId}]`. The token is
 *   `auth.token` of the CONNECT packet.
 * - bare-ws: `{"join": orderId}`, answered with `{"joined": orderId}`; every other text is relayed as it is to
 *   everybody in the sender's room.
 * `accuracy` carries the send time (`accuracyOf` in `send-time.ts`), also in what a backend publishes;
 * `speed` is the sender's number in its room, from 1.
 */
export type Dialect = "gateway-protobuf" | "gateway-json" | "socket-io" | "bare-ws";

export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** One client of a scenario. */
export interface ClientPlan {
  readonly userId: string;
  /** An order's id; everybody in it receives, the sender too. */
  readonly room: string;
  readonly isSender: boolean;
}

/** An event that a backend publishes. */
export interface BackendEvent {
  readonly room: string;
  /** Microseconds of the machine's monotonic clock. It travels as an accuracy below 1,000,000: `send-time.ts`. */
  readonly sentAtUs: number;
  /** Counts from 1. */
  readonly sequence: number;
}

export interface ContestantProcess {
  /** "edge", "fanout", "redis", "node". */
  readonly role: string;
  readonly pid: number;
}

export interface RunningContestant {
  readonly name: string;
  readonly dialect: Dialect;
  /** Client i connects to the one at i modulo their number. */
  readonly endpoints: readonly Endpoint[];
  /** All that it runs, its Redis included. */
  readonly processes: readonly ContestantProcess[];
  /** Lets the clients into their rooms. */
  admit(clients: readonly ClientPlan[]): Promise<void>;
  /** What the client shows at its handshake; empty where nobody asks. */
  credentials(client: ClientPlan): Promise<string>;
  /** Resolves when the event is accepted. */
  publish(event: BackendEvent): Promise<void>;
  stop(): Promise<void>;
}

export interface ContestantOptions {
  /** Processes that hold sockets. Default 2 (bare ws: 1). */
  readonly edges?: number;
  /** The gateway's alone. Default 2. */
  readonly fanouts?: number;
  /** Further variables of the gateway's processes. */
  readonly env?: Readonly<Record<string, string>>;
  /** The gateway's alone; absent: without Kafka. */
  readonly kafkaBrokers?: string;
}

export interface Contestant {
  readonly name: string;
  start(options: ContestantOptions): Promise<RunningContestant>;
}
