/**
 * A user's own part in a channel, for the handlers that decide by it. In a channel that the session follows the
 * directory is asked once, and again only after a signal: each change of who takes part is signalled to all
 * fanouts that follow. So a message costs no look-up, and a part that ended counts until its signal is here,
 * as it does for following. In a channel that is not followed no signal is heard: the directory is always asked.
 */
import type { Principal } from "#proto/gen/realtime/link/v1/link.js";
import type { Channel } from "#fanout/channel/channel.js";
import type { FollowedChannel } from "#fanout/channel/followed-channel.js";
import type { Participation } from "#fanout/directory/directory.js";
import { needsPart } from "#fanout/policy/policy.js";
import type { Relations } from "#fanout/policy/relations.js";
import type { StoreClock } from "#fanout/store-clock.js";
import type { Session } from "./session.js";

interface KnownPart {
  /** Whose, by the token of then. */
  readonly principal: Principal;
  readonly participation: Participation | undefined;
  /** The channel's count of signals before the directory was asked. */
  readonly signals: number;
}

export class OwnParticipations {
  readonly #relations: Pick<Relations, "partOf">;
  readonly #clock: StoreClock;
  /** Lives as long as the session and the followed channel do. */
  readonly #known = new WeakMap<Session, WeakMap<FollowedChannel, KnownPart>>();

  constructor(options: { relations: Pick<Relations, "partOf">; clock: StoreClock }) {
    this.#relations = options.relations;
    this.#clock = options.clock;
  }

  /**
   * Undefined where there is none, or where the policy does not ask for it.
   * @throws GatewayError unavailable while the directory cannot be asked.
   */
  async of(session: Session, channel: Channel): Promise<Participation | undefined> {
    const { principal } = session;
    if (!needsPart(principal, channel)) return undefined;
    const followed = session.follows.get(channel.key);
    // Signals are not heard before the channel is active.
    if (followed?.isActive !== true) return this.#relations.partOf(principal, channel);

    const known = this.#known.get(session)?.get(followed);
    const isKnown = known?.signals === followed.signals && known.principal === principal;
    if (isKnown && !this.#hasExpired(known)) return known.participation;
    const { signals } = followed;
    const participation = await this.#relations.partOf(principal, channel);
    const parts = this.#known.get(session) ?? new WeakMap<FollowedChannel, KnownPart>();
    this.#known.set(session, parts);
    parts.set(followed, { principal, participation, signals });
    return participation;
  }

  #hasExpired({ participation }: KnownPart): boolean {
    return participation !== undefined && participation.expiresAtMs <= this.#clock.nowUs() / 1000;
  }
}
