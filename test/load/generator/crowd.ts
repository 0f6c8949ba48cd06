/**
 * The clients of one worker: brings them into their rooms at a pace, tries again for those that did not get in,
 * drops them all and waits until they are back, and sends their locations. Knows who is in, and why others are
 * not.
 */
import type { Dialect, Endpoint } from "../contestant.js";
import { Client, type ClientSurroundings, type ConnectionEnd, type Entry } from "./client.js";
import { Deliveries } from "./deliveries.js";
import { clientDialect, type Seat } from "./dialect.js";
import { sendLocations, type SendingAnswer, type SendingOrder } from "./location-sender.js";
import { Tally } from "./tally.js";

/** As large as what libuv reads at once. */
const READ_BUFFER_BYTES = 65_536;
const PACE_MS = 5;
/** The protocol asks apps to give a handshake so long; entering the room is part of it here. */
const ENTRY_TIMEOUT_MS = 20_000;
const SWEEP_MS = 1000;
const MIN_RETRY_MS = 50;
const MAX_RETRY_MS = 1000;

export interface GatheringOrder {
  /** So fast they begin. */
  readonly perSecond: number;
  readonly timeoutMs: number;
}

export interface GatheringAnswer {
  readonly in: number;
  /** Who was to be brought in, and is not. */
  readonly missing: number;
  readonly resumed: number;
  readonly recovered: number;
  /** Attempts that failed, by reason, also of those who came in later. */
  readonly failedAttempts: Readonly<Record<string, number>>;
  /** From the beginning until each was in. */
  readonly lastInMs: number;
}

interface Gathering {
  readonly waiting: Client[];
  readonly beganMs: number;
  readonly failedAttempts: Tally;
  /** Neither in nor given up. */
  readonly missing: Map<Client, { attempts: number; sinceMs: number }>;
  readonly retries: Set<NodeJS.Timeout>;
  resumed: number;
  recovered: number;
  in: number;
  lastInMs: number;
  finished: () => void;
}

export class Crowd {
  readonly deliveries = new Deliveries();
  /** Connections that ended unasked, and errors that the contestant told, by reason. */
  readonly problems = new Tally();
  readonly #clients: Client[] = [];
  readonly #surroundings: ClientSurroundings;
  #gathering: Gathering | undefined;

  constructor(dialect: Dialect, endpoints: readonly Endpoint[]) {
    this.#surroundings = {
      endpoints,
      dialect: clientDialect(dialect),
      deliveries: this.deliveries,
      readBuffer: Buffer.alloc(READ_BUFFER_BYTES),
      entered: (client, how) => this.#entered(client, how),
      ended: (client, end) => this.#ended(client, end),
      erred: (reason) => this.problems.add(reason),
    };
  }

  seat(seats: readonly Seat[]): void {
    for (const seat of seats) this.#clients.push(new Client(seat, this.#surroundings));
  }

  get missing(): number {
    return this.#clients.filter(({ isIn }) => !isIn).length;
  }

  /** Brings in all who are away; resolves when nobody is missing or the time is over. */
  async gather({ perSecond, timeoutMs }: GatheringOrder): Promise<GatheringAnswer> {
    const beganMs = performance.now();
    const waiting = this.#clients.filter(({ isAway }) => isAway);
    const ended = new Promise<void>((finished) => {
      this.#gathering = {
        ...{ waiting, beganMs, finished, resumed: 0, recovered: 0, in: 0, lastInMs: 0 },
        failedAttempts: new Tally(),
        missing: new Map(waiting.map((client) => [client, { attempts: 0, sinceMs: Infinity }])),
        retries: new Set(),
      };
      if (waiting.length === 0) finished();
    });
    const gathering = this.#gathering;
    if (gathering === undefined) throw new Error("nobody gathers");
    let begun = 0;
    const begin = (): void => {
      const due = Math.min(waiting.length, 1 + ((performance.now() - beganMs) / 1000) * perSecond);
      for (; begun < due; begun += 1) this.#connect(gathering, waiting[begun]);
      if (begun === waiting.length) clearInterval(pace);
    };
    const pace = setInterval(begin, PACE_MS);
    begin();
    const sweep = setInterval(() => this.#sweep(gathering), SWEEP_MS);
    const deadline = setTimeout(gathering.finished, timeoutMs);
    await ended;
    for (const timer of [pace, sweep]) clearInterval(timer);
    for (const timer of [deadline, ...gathering.retries]) clearTimeout(timer);
    this.#gathering = undefined;
    for (const client of gathering.missing.keys()) client.drop();
    const { resumed, recovered, lastInMs, failedAttempts } = gathering;
    const timedOut = gathering.missing.size;
    if (timedOut > 0) failedAttempts.add(`not in after ${timeoutMs} ms`, timedOut);
    const missing = waiting.length - gathering.in;
    return { in: gathering.in, missing, resumed, recovered, lastInMs, failedAttempts: failedAttempts.counts };
  }

  /** Ends all sockets without a word. */
  drop(): void {
    for (const client of this.#clients) client.drop();
  }

  send(order: SendingOrder): Promise<SendingAnswer> {
    return sendLocations(
      this.#clients.filter(({ seat }) => seat.sender > 0),
      order,
    );
  }

  #connect(gathering: Gathering, client: Client | undefined): void {
    const state = client && gathering.missing.get(client);
    if (client === undefined || state === undefined) return;
    state.attempts += 1;
    state.sinceMs = performance.now();
    client.connect();
  }

  #entered(client: Client, { resumed, recovered }: Entry): void {
    const gathering = this.#gathering;
    if (gathering?.missing.delete(client) !== true) return;
    gathering.in += 1;
    if (resumed) gathering.resumed += 1;
    if (recovered) gathering.recovered += 1;
    gathering.lastInMs = performance.now() - gathering.beganMs;
    if (gathering.missing.size === 0) gathering.finished();
  }

  #ended(client: Client, end: ConnectionEnd): void {
    const gathering = this.#gathering;
    if (end.wasIn) this.problems.add(end.reason);
    const state = gathering?.missing.get(client);
    if (gathering === undefined || state === undefined) return;
    gathering.failedAttempts.add(end.reason);
    state.sinceMs = Infinity;
    if (end.isFinal) {
      gathering.missing.delete(client);
      if (gathering.missing.size === 0) gathering.finished();
      return;
    }
    const spreadMs = Math.min(MAX_RETRY_MS, MIN_RETRY_MS * 2 ** Math.min(state.attempts, 10));
    const retry = setTimeout(
      () => {
        gathering.retries.delete(retry);
        this.#connect(gathering, client);
      },
      end.retryAfterMs + spreadMs * (0.5 + Math.random() / 2),
    );
    gathering.retries.add(retry);
  }

  #sweep(gathering: Gathering): void {
    const nowMs = performance.now();
    for (const [client, { sinceMs }] of gathering.missing) {
      if (nowMs - sinceMs > ENTRY_TIMEOUT_MS) client.giveUp(`not in within ${ENTRY_TIMEOUT_MS} ms`);
    }
  }
}
