/**
 * Tells the two users of a conversation what they have not read, in their own channels: so a user learns of a
 * message whether they follow the conversation or not, on every device, and finds it there when they come back, for
 * as long as their channel keeps what came last. One value for each conversation, replaced by the next: it is no
 * copy of the message, and no history grows by it. Groups and orders are asked about instead: telling each member
 * of each message would cost members times messages.
 */
import { Event } from "#proto/gen/realtime/client/v1/event.js";
import { userChannel } from "#fanout/channel/channel.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import { isMerchantParty } from "#fanout/directory/merchant-party.js";
import type { Standing } from "./marks.js";
import { toUnreadUpdate } from "./standing.js";

export class UnreadTeller {
  readonly #publisher: Pick<Publisher, "publish">;

  constructor(publisher: Pick<Publisher, "publish">) {
    this.#publisher = publisher;
  }

  /** Passes over standings in channels that are no two-person conversations. @throws GatewayError unavailable. */
  async tell(standings: readonly Standing[]): Promise<void> {
    // A restaurant is nobody's session: its people ask.
    const told = standings.filter(
      ({ recipientId, userId }) => recipientId !== "" && !isMerchantParty(userId),
    );
    await Promise.all(
      told.map((standing) => {
        const event = Event.fromPartial({});
        event.body = { $case: "unread", value: toUnreadUpdate(standing) };
        const channel = userChannel(standing.channel.app, standing.userId);
        return this.#publisher.publish({ channel, event, version: standing.version });
      }),
    );
  }
}
