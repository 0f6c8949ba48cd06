/**
 * `history`: a page of a channel's stored events, in either direction. Who may follow may read. A page is one
 * answer, bounded in events and bytes; a position of a history that is over, or of another event than the
 * stored one, is told, never read on from.
 */
import { GatewayError } from "#proto/errors.js";
import type { History } from "#proto/gen/realtime/client/v1/client_frame.js";
import { Event, type Position } from "#proto/gen/realtime/client/v1/event.js";
import type { Framing } from "#proto/gen/realtime/link/v1/link.js";
import { FieldCheck } from "#fanout/api/field-check.js";
import type { Broker, HistoryEvent } from "#fanout/channel/broker.js";
import type { Channel } from "#fanout/channel/channel.js";
import { framedBytes, toPosition } from "#fanout/channel/event-frames.js";
import { checkPosition } from "#fanout/channel/position-check.js";
import { may } from "#fanout/policy/policy.js";
import type { FrameHandler } from "../frame-handler.js";
import type { OwnParticipations } from "../own-participations.js";

const MAX_EVENTS = 100;
const DEFAULT_EVENTS = 50;
/** Of events in a page, as the socket gets them; one event is given however large it is. */
const MAX_PAGE_BYTES = 256 * 1024;
/** Of what is read for a page: two events may be beside it, the one at `from` and the first that does not fit. */
const MAX_READ_BYTES = MAX_PAGE_BYTES + 2 * 64 * 1024;

export interface HistoryOptions {
  readonly broker: Broker;
  readonly participations: OwnParticipations;
  /** What is stored and not given any more. */
  readonly isOver?: (payload: Uint8Array) => boolean;
}

export function historyHandler({ broker, participations, isOver }: HistoryOptions): FrameHandler<"history"> {
  return async ({ session }, body) => {
    const check = new FieldCheck("history");
    const { channel } = check.channel("channel", session.principal.app, body.channel);
    check.range("limit", body.limit, { from: 0, to: MAX_EVENTS });
    checkPosition(body.from, "history.from");
    if (!may(session.principal, "history", channel, await participations.of(session, channel))) {
      throw new GatewayError("permission_denied", `the history of ${channel.name} is not yours to read`, {
        field: "history.channel",
      });
    }
    const stored = await readBehind(broker, channel, body);
    const { events } = stored;
    const page = fitting(events.slice(0, body.limit === 0 ? DEFAULT_EVENTS : body.limit), session.framing);
    const last = page.at(-1);
    return {
      $case: "historyPage",
      value: {
        events: page
          .filter(({ payload }) => isOver?.(payload) !== true)
          .map(({ position, payload }) => ({
            ...Event.decode(payload),
            position: toPosition(position),
          })),
        next: last && (stored.isCut || page.length < events.length) ? toPosition(last.position) : undefined,
      },
    };
  };
}

/** As many as fit into a page. */
function fitting(events: readonly HistoryEvent[], framing: Framing): readonly HistoryEvent[] {
  let bytes = 0;
  const tooMuch = events.findIndex((event, index) => {
    bytes += framedBytes(event, framing);
    return index > 0 && bytes > MAX_PAGE_BYTES;
  });
  return tooMuch === -1 ? events : events.slice(0, tooMuch);
}

interface Stored {
  readonly events: readonly HistoryEvent[];
  /** There may be more that was not read, because it would not fit. */
  readonly isCut: boolean;
}

/**
 * The events behind `from` in the direction asked for: one more than the page holds, where there are as many.
 * @throws GatewayError expired where `from` is not a place in the stored history.
 */
async function readBehind(
  broker: Broker,
  channel: Channel,
  { from, backward, limit: asked }: History,
): Promise<Stored> {
  const bounds = { limit: (asked === 0 ? DEFAULT_EVENTS : asked) + 1, maxBytes: MAX_READ_BYTES };
  if (from === undefined || isBeforeTheFirst(from)) {
    if (!backward) return asStored(await broker.history(channel, { afterOffset: 0, ...bounds }));
    if (from !== undefined) return asStored([]);
    return asStored(await broker.history(channel, { beforeOffset: Infinity, ...bounds }));
  }
  // With the event at `from` itself, to compare it.
  const boundsWithFrom = { ...bounds, limit: bounds.limit + 1 };
  const read = await broker.history(
    channel,
    backward
      ? { beforeOffset: from.offset + 1, ...boundsWithFrom }
      : { afterOffset: Math.max(0, from.offset - 1), ...boundsWithFrom },
  );
  const [first] = read;
  if (first === undefined) {
    // Nothing is kept there any more, or nothing was ever stored there.
    const [top] = await broker.positions([channel]);
    if (top?.epoch !== from.epoch || top.offset < from.offset) throw historyIsOver();
    return asStored([]);
  }
  const { epoch, offset, tag } = first.position;
  const isOther = offset === from.offset && from.tag !== 0 && tag !== from.tag;
  // Read backward, the newest that is stored comes first: older than `from`, it lies ahead of the history.
  const isAhead = backward && offset < from.offset;
  if (epoch !== from.epoch || isOther || isAhead) throw historyIsOver();
  const stored = asStored(read);
  return offset === from.offset ? { ...stored, events: read.slice(1) } : stored;
}

function asStored(events: readonly HistoryEvent[]): Stored {
  return { events, isCut: events.reduce((sum, { payload }) => sum + payload.length, 0) > MAX_READ_BYTES };
}

/** A channel has no epoch before its first event. */
function isBeforeTheFirst({ epoch, offset }: Position): boolean {
  return epoch === "" && offset === 0;
}

function historyIsOver(): GatewayError {
  return new GatewayError("expired", "that history is over: begin again without `from`", {
    field: "history.from",
  });
}
