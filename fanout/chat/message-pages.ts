/**
 * Pages of what was said, for backend services: the channel's stored events in either direction, of which those of
 * chat are given. A position of a history that is over is told, never read on from.
 */
import { GatewayError } from "#proto/errors.js";
import { Event, type Position } from "#proto/gen/realtime/client/v1/event.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import type { Broker, HistoryEvent } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { toPosition } from "#fanout/channel/event-frames.js";
import { checkPosition } from "#fanout/channel/position-check.js";

export interface PageRequest {
  readonly from?: Position | undefined;
  readonly backward: boolean;
  /** 0: the default. */
  readonly limit: number;
}

export interface MessagePage {
  readonly events: Event[];
  readonly next: Position | undefined;
}

const MAX_EVENTS = 500;
const DEFAULT_EVENTS = 100;
/** What a gRPC message may hold lies well above. */
const MAX_PAGE_BYTES = 1024 * 1024;
const SAID: ReadonlySet<string | undefined> = new Set(["chatMessage", "chatEdited", "chatDeleted"]);

/** @throws GatewayError invalid_argument, expired, unavailable. */
export async function pageOfMessages(
  broker: Pick<Broker, "history" | "positions">,
  channel: Channel,
  request: PageRequest,
): Promise<MessagePage> {
  const { from, backward } = request;
  new FieldCheck("").range("limit", request.limit, { from: 0, to: MAX_EVENTS });
  checkPosition(from, "from");
  const limit = request.limit === 0 ? DEFAULT_EVENTS : request.limit;
  const bounds = { limit: limit + 1, maxBytes: MAX_PAGE_BYTES };
  if (from !== undefined) await checkEpoch(broker, channel, from);
  const read = await broker.history(
    channel,
    backward
      ? { beforeOffset: from?.offset ?? Infinity, ...bounds }
      : { afterOffset: from?.offset ?? 0, ...bounds },
  );
  const page = read.slice(0, limit);
  const last = page.at(-1);
  // Where bytes were the bound, there may be more behind them.
  const isWhole = read.length <= limit && bytesOf(read) <= MAX_PAGE_BYTES;
  return {
    events: page.map(asEvent).filter(({ body }) => SAID.has(body?.$case)),
    next: last === undefined || isWhole ? undefined : toPosition(last.position),
  };
}

async function checkEpoch(
  broker: Pick<Broker, "positions">,
  channel: Channel,
  from: Position,
): Promise<void> {
  const [stored] = await broker.positions([channel]);
  const isBeforeTheFirst = from.epoch === "" && from.offset === 0;
  if (isBeforeTheFirst || (stored?.epoch === from.epoch && from.offset <= stored.offset)) return;
  throw new GatewayError("expired", "that history is over: begin again without `from`", { field: "from" });
}

function asEvent({ position, payload }: HistoryEvent): Event {
  return { ...Event.decode(payload), position: toPosition(position) };
}

function bytesOf(events: readonly HistoryEvent[]): number {
  return events.reduce((sum, { payload }) => sum + payload.length, 0);
}
