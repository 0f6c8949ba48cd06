/**
 * The location that a backend publishes into a room, the same for every contestant: fields and values as
 * those that clients send, and the send time as the accuracy.
 */
import { accuracyOf } from "../send-time.js";
import type { BackendEvent } from "../contestant.js";

export interface LocationPayload {
  readonly orderId: string;
  readonly workerId: string;
  readonly latitude: number;
  readonly longitude: number;
  readonly heading: number;
  readonly speed: number;
  readonly accuracy: number;
  /** Milliseconds since 1970-01-01 UTC. */
  readonly timestamp: number;
}

export function backendLocation({ room, sentAtUs }: BackendEvent): LocationPayload {
  return {
    orderId: room,
    workerId: "backend",
    latitude: 52.516275,
    longitude: 13.377704,
    heading: 87.5,
    speed: 11.25,
    accuracy: accuracyOf(sentAtUs),
    timestamp: Date.now(),
  };
}
