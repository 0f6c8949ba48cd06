/** Who is there, as far as offers ask: a candidate who is not is passed over when their turn comes. */
import type { SessionRegistry } from "#fanout/session/session-registry.js";

export interface OnlineUsers {
  /** Whether any connection of the user is there. @throws GatewayError unavailable while the store is away. */
  isOnline(app: string, userId: string): Promise<boolean>;
}

/** By the registry of connections: those of a killed edge count until its lease has ended. */
export class RegisteredUsers implements OnlineUsers {
  readonly #registry: Pick<SessionRegistry, "ofUser">;

  constructor(registry: Pick<SessionRegistry, "ofUser">) {
    this.#registry = registry;
  }

  async isOnline(app: string, userId: string): Promise<boolean> {
    return (await this.#registry.ofUser(app, userId)).length > 0;
  }
}
