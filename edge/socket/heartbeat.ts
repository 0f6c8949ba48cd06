/**
 * Heartbeats by a sliced sweep: connections are spread over slots, and each step visits one slot, so that
 * a round costs the same at any time and no connection needs a timer. A connection that gave no sign of
 * life for two rounds is gone.
 *
 * The pings of one round are one frame, which is built once and carries the round's number.
 */
import { pingFrame } from "./websocket-frame.js";

export interface HeartbeatPing {
  /** 1, 2, 3, …: no connection gets the same one twice. */
  readonly number: number;
  readonly frame: Buffer;
}

export interface Beating {
  /** Whether anything was heard since the last visit; asking resets it. */
  takeSignOfLife(): boolean;
  /** Rounds in a row without a sign of life; kept by the sweep. */
  missedHeartbeats: number;
  ping(ping: HeartbeatPing): void;
  /** Two rounds passed in silence. */
  heartbeatMissed(): void;
  /**
   * Called once a round, with the time that does not jump when somebody sets the clock: for deadlines of the
   * connection that need no more precision.
   */
  visited(steadyMs: number): void;
}

export const HEARTBEAT_SLOTS = 32;
const MISSED_ROUNDS = 2;

export class HeartbeatSweep<T extends Beating> {
  readonly #slots: Set<T>[] = Array.from({ length: HEARTBEAT_SLOTS }, () => new Set<T>());
  readonly #slotOf = new WeakMap<T, number>();
  #nextSlot = 0;
  #nextInsert = 0;
  #ping: HeartbeatPing = { number: 0, frame: pingFrame(0) };

  add(connection: T): void {
    this.#slotOf.set(connection, this.#nextInsert);
    this.#slots[this.#nextInsert]?.add(connection);
    this.#nextInsert = (this.#nextInsert + 1) % HEARTBEAT_SLOTS;
  }

  remove(connection: T): void {
    const slot = this.#slotOf.get(connection);
    if (slot !== undefined) this.#slots[slot]?.delete(connection);
  }

  /** Visits the next slot. Called `HEARTBEAT_SLOTS` times for each heartbeat interval. */
  step(steadyMs: number): void {
    if (this.#nextSlot === 0) {
      const number = this.#ping.number + 1;
      this.#ping = { number, frame: pingFrame(number) };
    }
    const slot = this.#slots[this.#nextSlot];
    this.#nextSlot = (this.#nextSlot + 1) % HEARTBEAT_SLOTS;
    if (slot === undefined) return;
    for (const connection of slot) {
      connection.missedHeartbeats = connection.takeSignOfLife() ? 0 : connection.missedHeartbeats + 1;
      if (connection.missedHeartbeats > MISSED_ROUNDS) {
        connection.heartbeatMissed();
        continue;
      }
      connection.ping(this.#ping);
      connection.visited(steadyMs);
    }
  }
}
