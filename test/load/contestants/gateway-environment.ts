/**
 * What the gateway is configured with for the benchmark: as in production, with every check on. Only the
 * limits of one client address are raised, because all clients are of one machine, and those of one user, because
 * few users send what many would; all else are the defaults.
 */
import { randomBytes } from "node:crypto";
import { RAISED_RATE_LIMIT_VARIABLES } from "#test/support/raised-limits.js";

export interface Topics {
  readonly orders: string;
  readonly porters: string;
  readonly notifications: string;
}

/** The default of MAX_CONNECTIONS: an edge full of clients of one address. */
const CONNECTIONS_PER_ADDRESS = 20_000;
/**
 * The default of HANDSHAKES_PER_SECOND, which is kept: clients of one address may come as fast as an edge takes
 * any. A higher rate, with bursts of twice as many, lets more sessions open at once than two cores carry.
 */
const HANDSHAKES_PER_SECOND_PER_ADDRESS = 500;

export class GatewayEnvironment {
  readonly app = `bench-${randomBytes(4).toString("hex")}`;
  readonly apiToken = randomBytes(32).toString("hex");
  readonly topics: Topics = {
    orders: `order-events-${this.app}`,
    porters: `porter-events-${this.app}`,
    notifications: `notification-events-${this.app}`,
  };
  readonly #linkToken = randomBytes(32).toString("hex");

  /** Of every process; `env` wins. */
  variables(options: {
    readonly redisUrl: string;
    readonly jwtSecret: string;
    readonly kafkaBrokers?: string | undefined;
    readonly env?: Readonly<Record<string, string>> | undefined;
  }): Record<string, string> {
    return {
      NODE_ENV: "production",
      LOG_LEVEL: "warn",
      HOST: "127.0.0.1",
      REDIS_URL: options.redisUrl,
      JWT_SOCKET_SECRET: options.jwtSecret,
      LINK_TOKEN: this.#linkToken,
      API_TOKENS: this.apiToken,
      HANDSHAKES_PER_SECOND_PER_ADDRESS: String(HANDSHAKES_PER_SECOND_PER_ADDRESS),
      CONNECTIONS_PER_ADDRESS: String(CONNECTIONS_PER_ADDRESS),
      ...RAISED_RATE_LIMIT_VARIABLES,
      ...(options.kafkaBrokers !== undefined && {
        KAFKA_BROKERS: options.kafkaBrokers,
        KAFKA_GROUP_ID: `group-${this.app}`,
        KAFKA_ORDER_TOPIC: this.topics.orders,
        KAFKA_PORTER_TOPIC: this.topics.porters,
        KAFKA_NOTIFICATION_TOPIC: this.topics.notifications,
      }),
      ...options.env,
    };
  }
}
