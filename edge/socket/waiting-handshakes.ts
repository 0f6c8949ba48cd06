/**
 * The sockets whose handshake waits for its turn, and the one timer that asks whose turn it is. Nothing of
 * them is looked at meanwhile, and nothing is kept but what HTTP has read. Who leaves, leaves the line.
 */
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import type { Admission, Turn } from "../admission/admission.js";
import type { WaitingPlace } from "../admission/waiting-line.js";

/** A request to upgrade, as the HTTP server hands it over. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Duplex;
  readonly head: Buffer;
}

export interface WaitingHandshakesOptions {
  readonly admission: Admission;
  readonly nowMs: () => number;
  /** The wait is over, in the order in which they came; the socket is the listener's from here on. */
  readonly turn: (upgrade: Upgrade, decision: Turn["decision"], waitedMs: number) => void;
}

interface Waiting extends Upgrade {
  readonly left: () => void;
}

/** Turns that come closer together are taken together. */
const STEP_MS = 10;

export class WaitingHandshakes {
  readonly #options: WaitingHandshakesOptions;
  readonly #waiting = new Map<WaitingPlace, Waiting>();
  #timer: NodeJS.Timeout | undefined;
  #timerAtMs = Infinity;

  constructor(options: WaitingHandshakesOptions) {
    this.#options = options;
  }

  add(place: WaitingPlace, upgrade: Upgrade): void {
    const { socket } = upgrade;
    const left = (): void => {
      this.#remove(place);
      this.#options.admission.giveUp(place);
      socket.destroy();
    };
    this.#waiting.set(place, { ...upgrade, left });
    // A client that goes in order is seen by its end: the socket is half open then, and does not close by itself.
    socket.once("close", left);
    socket.once("end", left);
    this.#schedule();
  }

  /** Ends all waits; the sockets are the caller's. */
  giveUpAll(): readonly Upgrade[] {
    const all = [...this.#waiting];
    for (const [place] of all) {
      this.#remove(place);
      this.#options.admission.giveUp(place);
    }
    clearTimeout(this.#timer);
    return all.map(([, upgrade]) => upgrade);
  }

  #remove(place: WaitingPlace): Waiting | undefined {
    const waiting = this.#waiting.get(place);
    if (waiting === undefined) return undefined;
    this.#waiting.delete(place);
    waiting.socket.off("close", waiting.left);
    waiting.socket.off("end", waiting.left);
    return waiting;
  }

  #schedule(): void {
    const { admission, nowMs } = this.#options;
    const dueMs = admission.nextTurnMs;
    if (dueMs === undefined || dueMs >= this.#timerAtMs) return;
    clearTimeout(this.#timer);
    this.#timerAtMs = dueMs;
    this.#timer = setTimeout(this.#takeTurns, Math.max(STEP_MS, dueMs - nowMs()));
    this.#timer.unref();
  }

  readonly #takeTurns = (): void => {
    this.#timerAtMs = Infinity;
    const { admission, nowMs, turn } = this.#options;
    const now = nowMs();
    for (const { place, decision } of admission.turns(now)) {
      const waiting = this.#remove(place);
      if (waiting !== undefined) turn(waiting, decision, now - place.sinceMs);
      else if (decision.admitted) decision.slot.closed();
    }
    this.#schedule();
  };
}
