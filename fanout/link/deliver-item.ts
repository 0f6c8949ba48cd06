/**
 * Encodes a delivery for a batch. The event's part is encoded once for all edges that want the same
 * framings; only the group's number differs, and protobuf lets it be spliced in front.
 */
import { encode } from "#proto/encode.js";
import { Deliver } from "#proto/gen/realtime/link/v1/link.js";
import { varintBytes, writeVarint } from "#fanout/channel/event-frames.js";

const ITEMS_TAG = 0x0a; // ConnectResponse.items
const DELIVER_TAG = 0x1a; // FanoutItem.deliver
const GROUP_TAG = 0x08; // Deliver.group

/** The part of a delivery that does not depend on the group. */
export function encodeDelivery(delivery: Omit<Deliver, "group">): Uint8Array {
  return encode(Deliver, { ...delivery, group: 0 });
}

/** The whole item, ready to be spliced into a batch. */
export function deliverItem(group: number, delivery: Uint8Array): Uint8Array {
  const deliverBytes = 1 + varintBytes(group) + delivery.length;
  const itemBytes = 1 + varintBytes(deliverBytes) + deliverBytes;
  const item = Buffer.allocUnsafe(1 + varintBytes(itemBytes) + itemBytes);
  item[0] = ITEMS_TAG;
  let index = writeVarint(item, 1, itemBytes);
  item[index] = DELIVER_TAG;
  index = writeVarint(item, index + 1, deliverBytes);
  item[index] = GROUP_TAG;
  index = writeVarint(item, index + 1, group);
  item.set(delivery, index);
  return item;
}
