/**
 * When a notification's time is over. An encoded event is asked without decoding the rest of it, because replays and
 * pages ask each of theirs.
 *
 * Where an expired one is cut: by the publisher, before it is stored; and wherever stored events are given again:
 * replays to a socket (`channel/replay.ts`), pages of history (`session/handlers/history.ts`), and what a followed
 * channel reads because the way lost it (`channel/followed-channel.ts`). What is stored stays: offsets have no gaps
 * there, and nobody's position is lost.
 */
import { BinaryReader } from "@bufbuild/protobuf/wire";
import { Notification } from "#proto/gen/realtime/client/v1/event.js";

/** Longer than any channel keeps it. */
export const MAX_TIME_TO_LIVE_MS = 30 * 86_400_000;
/** `realtime.client.v1.Event.notification`. */
const NOTIFICATION_FIELD = 33;

/** Undefined where the event is another one. */
export function notificationIn(event: Uint8Array): Notification | undefined {
  const reader = new BinaryReader(event);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (field === NOTIFICATION_FIELD) return Notification.decode(reader.bytes());
    reader.skip(wireType, field);
  }
  return undefined;
}

export function isOver({ expiresAtMs }: Pick<Notification, "expiresAtMs">, nowMs: number): boolean {
  return expiresAtMs > 0 && expiresAtMs <= nowMs;
}

/** Whether an encoded event is a notification whose time is over. */
export type IsOver = (event: Uint8Array) => boolean;

export function expiredBy(nowMs: () => number, onCut: () => void): IsOver {
  return (event) => {
    const notification = notificationIn(event);
    if (notification === undefined || !isOver(notification, nowMs())) return false;
    onCut();
    return true;
  };
}
