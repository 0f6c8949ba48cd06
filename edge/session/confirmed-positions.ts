/**
 * Which positions a socket has confirmed. The pong of a ping says that the client has everything that was
 * written before the ping; so what changed is remembered when a ping is written, and confirmed when its pong
 * comes. A socket whose positions stand still keeps nothing here.
 *
 * Clients may send pongs that nobody asked for (RFC 6455, section 5.5.3), and may answer the last of several
 * pings only: a pong confirms what was remembered at its own ping or before, and one of a ping that was not
 * written confirms nothing.
 */
import type { Position } from "#proto/gen/realtime/client/v1/event.js";
import type { Group } from "./group.js";
import { advance, latestChange } from "./position-changes.js";

/** A session as its confirmations see it. */
export interface StandingSession {
  /** The groups that the socket is in, each with the number of the change that its joining was. */
  readonly groups: ReadonlyMap<Group, number>;
  readonly carriedPositions: ReadonlyMap<string, Position>;
  /** The number of the last change of a carried position by what was written to the socket. */
  readonly carriedChange: number;
  /** The number of the last change that a delivery to the group was for this socket. */
  changeIn(group: Group): number;
  positionIn(group: Group): Position | undefined;
}

interface Pending {
  readonly ping: number;
  readonly change: number;
  readonly positions: Map<string, Position>;
}

export class ConfirmedPositions {
  /** What changed up to here is confirmed. */
  #change = 0;
  #lastPing = 0;
  /** Of the first ping without a pong, not of the last: a client slower than the pings would never confirm. */
  #pending: Pending | undefined;

  /** A ping is written behind everything that the socket was given. Pings are numbered upwards from 1. */
  pinged(ping: number, session: StandingSession): void {
    this.#lastPing = ping;
    if (this.#pending !== undefined) return;
    const positions = this.#changed(session);
    if (positions !== undefined) this.#pending = { ping, change: latestChange(), positions };
  }

  /** What the pong of a ping confirms, once. */
  ponged(ping: number): Map<string, Position> | undefined {
    const pending = this.#pending;
    if (pending === undefined || ping < pending.ping || ping > this.#lastPing) return undefined;
    this.#pending = undefined;
    this.#change = pending.change;
    return pending.positions.size > 0 ? pending.positions : undefined;
  }

  /** The session follows the channel no more: whatever it has of it, nobody shall be told. */
  left(channel: string): void {
    this.#pending?.positions.delete(channel);
  }

  /** The session moves: its next home hears of what it has joined there. */
  moved(): void {
    this.#pending = undefined;
  }

  #changed(session: StandingSession): Map<string, Position> | undefined {
    let positions: Map<string, Position> | undefined;
    if (session.carriedChange > this.#change && session.carriedPositions.size > 0) {
      positions = new Map(session.carriedPositions);
    }
    for (const [group, joined] of session.groups) {
      if (joined <= this.#change && session.changeIn(group) <= this.#change) continue;
      const position = session.positionIn(group);
      if (position === undefined) continue;
      positions ??= new Map<string, Position>();
      advance(positions, group.channel, position);
    }
    return positions;
  }
}
