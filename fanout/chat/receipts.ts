/**
 * Receipts: a user's marks in a channel, and how the others hear of them. The mark is what is kept; it is told as
 * a latest value of the channel, one for each user and kind, which the next one replaces; another has all single
 * messages together. So a reader of 500 messages costs one value and no reader more than four, no history fills
 * with receipts, and who comes later gets the newest with `subscribed`. Where many users have marks they are kept,
 * but not told: readers times readers would have to hear of them.
 */
import { GatewayError } from "#proto/errors.js";
import { Event, ReceiptKind } from "#proto/gen/realtime/client/v1/event.js";
import type { Publisher } from "#fanout/channel/publisher.js";
import type { FanoutCounters } from "../fanout-counters.js";
import type { Author } from "./chat.js";
import { marked, type Mark } from "./mark.js";
import type { ChatMarks, MarkKind, Standing } from "./marks.js";
import type { MessageId } from "./message-id.js";
import type { UnreadTeller } from "./unread-teller.js";

/** In channels in which more users have marks, receipts are not told. */
export const MAX_TOLD_READERS = 100;

export interface ReceiptGiven {
  readonly message: MessageId;
  /** Where its id came from, for errors. */
  readonly field: string;
  /** Who got it or read it. */
  readonly reader: Author;
  readonly kind: MarkKind;
  /** All earlier messages too. */
  readonly upTo: boolean;
  readonly correlationId: string;
  readonly traceparent: string;
}

const KINDS: Readonly<Record<MarkKind, ReceiptKind>> = {
  delivered: ReceiptKind.RECEIPT_KIND_DELIVERED,
  read: ReceiptKind.RECEIPT_KIND_READ,
};

export interface ReceiptsOptions {
  readonly publisher: Pick<Publisher, "publish">;
  readonly marks: ChatMarks;
  readonly unread: UnreadTeller;
  readonly counters: FanoutCounters;
}

export class Receipts {
  readonly #options: ReceiptsOptions;

  constructor(options: ReceiptsOptions) {
    this.#options = options;
  }

  /**
   * Resolves once the mark is kept and told; a repeat tells it again where the first did not get so far.
   * @throws GatewayError not_found where there is no such message, rate_limited, unavailable.
   */
  async give(receipt: ReceiptGiven): Promise<Standing> {
    const { message, reader, kind, upTo } = receipt;
    const { marks, unread, counters } = this.#options;
    const { channel, number } = message;
    const raise = { userId: reader.userId, kind, number, upTo };
    const { standing, mark, markedUsers } = await marks.raise(channel, raise).catch((thrown: unknown) => {
      const isNone = thrown instanceof GatewayError && thrown.kind === "not_found";
      throw isNone ? new GatewayError("not_found", thrown.message, { field: receipt.field }) : thrown;
    });
    counters.receipts += 1;
    if (markedUsers > MAX_TOLD_READERS) counters.receiptsNotTold += 1;
    else await this.#tell(receipt, mark);
    if (kind === "read") await unread.tell([standing]);
    return standing;
  }

  async #tell(receipt: ReceiptGiven, mark: Mark): Promise<void> {
    const { message, reader, kind, correlationId, traceparent } = receipt;
    const { number, text: messageId, channel } = message;
    const event = Event.fromPartial({ sender: { ...reader }, correlationId, traceparent });
    const upTo = mark.upTo >= number;
    const value = {
      userId: reader.userId,
      kind: KINDS[kind],
      messageId,
      upTo,
      number,
      upToNumber: mark.upTo,
      singleNumbers: [...mark.singles],
    };
    event.body = { $case: "receipt", value };
    // A mark only grows: of two single messages the one with which more is marked is newer, and has the other.
    const version = upTo ? number : marked(mark);
    await this.#options.publisher.publish({ channel, event, version });
  }
}
