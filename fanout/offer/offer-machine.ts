/**
 * The state machine of an offer, pure: a record, a command and the store's time give the next record, what
 * changed, and what the command came to. Time that has passed is dealt with first, so no command ever finds an
 * offer open whose time is over. `lua/change-offer.lua` is the same machine within Redis; one contract suite
 * holds both to it.
 */
import {
  MARKS,
  NO_CANDIDATE_LEFT,
  type ChangeKind,
  type NewOffer,
  type OfferChange,
  type OfferStateName,
} from "./offer.js";

export type OfferCommand =
  | { readonly type: "create"; readonly offer: NewOffer }
  /** Without a fencing number it only asks whether the offer is to be had: then `draw` is the answer. */
  | {
      readonly type: "accept";
      readonly userId: string;
      readonly role: string;
      readonly fencingNumber?: number;
    }
  | { readonly type: "reject"; readonly userId: string; readonly role: string; readonly reason: string }
  | { readonly type: "withdraw"; readonly reason: string }
  /** Whose turn it is cannot be reached. */
  | { readonly type: "pass"; readonly userId: string }
  /** Lets time pass, and nothing else. */
  | { readonly type: "look" };

export type OfferOutcome =
  /** The command had its effect. */
  | "done"
  /** It had it before; the answer is the same. */
  | "repeated"
  /** An accept that would have succeeded: draw a number and come again. */
  | "draw"
  /** There is no such offer, or not for this user. */
  | "unknown"
  /** Another offer has this id. */
  | "other"
  /** It is over: its state says how. */
  | "over"
  /** The candidate has rejected it. */
  | "rejected"
  /** The candidate's turn is over. */
  | "passed";

export interface OfferRecord {
  readonly offer: NewOffer;
  readonly createdAtMs: number;
  readonly deadlineMs: number;
  readonly state: OfferStateName;
  readonly marks: string;
  /** One by one: the index of who is asked, and until when. */
  readonly turn: number;
  readonly turnEndsAtMs: number;
  readonly askedAtMs: number;
  readonly askedRevision: number;
  readonly revision: number;
  readonly winnerId: string;
  readonly fencingNumber: number;
  readonly endedAtMs: number;
  readonly reason: string;
}

export interface Step {
  readonly record: OfferRecord | undefined;
  readonly changes: readonly OfferChange[];
  readonly outcome: OfferOutcome;
}

export function stepOffer(record: OfferRecord | undefined, command: OfferCommand, nowMs: number): Step {
  if (command.type === "create") {
    if (record === undefined) return new Machine(begun(command.offer, nowMs), nowMs).begin();
    const machine = new Machine(record, nowMs);
    return machine.answer(record.offer.digest === command.offer.digest ? "repeated" : "other");
  }
  if (record === undefined) return { record, changes: [], outcome: "unknown" };
  const machine = new Machine(record, nowMs);
  switch (command.type) {
    case "accept":
      return machine.accept(command);
    case "reject":
      return machine.reject(command);
    case "withdraw":
      return machine.withdraw(command.reason);
    case "pass":
      return machine.pass(command.userId);
    case "look":
      return machine.answer("done");
  }
}

/** When time alone will change it. */
export function nextDeadlineMs({ state, deadlineMs, turnEndsAtMs }: OfferRecord): number {
  if (state !== "open") return Infinity;
  return turnEndsAtMs > 0 ? Math.min(deadlineMs, turnEndsAtMs) : deadlineMs;
}

function begun(offer: NewOffer, nowMs: number): OfferRecord {
  const deadlineMs = offer.expiresAtMs ?? nowMs + offer.timeLimitMs;
  const isAsked = offer.mode === "all_at_once" && deadlineMs > nowMs;
  return {
    offer,
    createdAtMs: nowMs,
    deadlineMs,
    state: "open",
    marks: (isAsked ? MARKS.asked : MARKS.waiting).repeat(offer.candidates.length),
    turn: -1,
    turnEndsAtMs: 0,
    askedAtMs: nowMs,
    askedRevision: 1,
    revision: 0,
    winnerId: "",
    fencingNumber: 0,
    endedAtMs: 0,
    reason: "",
  };
}

/** One command's work on one record. */
class Machine {
  readonly #nowMs: number;
  readonly #changes: OfferChange[] = [];
  #record: OfferRecord;

  constructor(record: OfferRecord, nowMs: number) {
    this.#record = record;
    this.#nowMs = nowMs;
    if (record.revision > 0) this.#letTimePass();
  }

  answer(outcome: OfferOutcome): Step {
    return { record: this.#record, changes: this.#changes, outcome };
  }

  begin(): Step {
    this.#change("open", { expiresAtMs: this.#record.deadlineMs });
    this.#letTimePass();
    if (this.#record.state === "open" && this.#record.offer.mode === "one_by_one") this.#askNext();
    return this.answer("done");
  }

  accept(by: Extract<OfferCommand, { type: "accept" }>): Step {
    const index = this.#candidate(by.userId);
    if (index === undefined) return this.answer("unknown");
    const { state, winnerId } = this.#record;
    if (state === "accepted" && winnerId === by.userId) return this.answer("repeated");
    const refusal = this.#refusal(index);
    if (refusal !== undefined) return this.answer(refusal);
    const { fencingNumber } = by;
    if (fencingNumber === undefined) return this.answer("draw");
    this.#mark(index, MARKS.accepted);
    this.#update({ winnerId: by.userId, fencingNumber });
    this.#end("accepted", { userId: by.userId, role: by.role, fencingNumber });
    return this.answer("done");
  }

  reject({ userId, role, reason }: Extract<OfferCommand, { type: "reject" }>): Step {
    const index = this.#candidate(userId);
    if (index === undefined) return this.answer("unknown");
    if (this.#record.marks.charAt(index) === MARKS.rejected) return this.answer("repeated");
    const refusal = this.#refusal(index);
    if (refusal !== undefined) return this.answer(refusal);
    this.#mark(index, MARKS.rejected);
    this.#change("rejected", { userId, role, reason });
    this.#goOn();
    return this.answer("done");
  }

  withdraw(reason: string): Step {
    const { state } = this.#record;
    if (state === "withdrawn") return this.answer("repeated");
    if (state !== "open") return this.answer("over");
    this.#end("withdrawn", { reason });
    return this.answer("done");
  }

  pass(userId: string): Step {
    const { state, offer, turn } = this.#record;
    const isTheirTurn = state === "open" && offer.mode === "one_by_one" && offer.candidates[turn] === userId;
    if (!isTheirTurn) return this.answer("passed");
    this.#pass(MARKS.offline, "offline");
    return this.answer("done");
  }

  /** A candidate who knows of it: who waits for their turn does not. */
  #candidate(userId: string): number | undefined {
    const index = this.#record.offer.candidates.indexOf(userId);
    return index === -1 || this.#record.marks.charAt(index) === MARKS.waiting ? undefined : index;
  }

  #refusal(index: number): OfferOutcome | undefined {
    if (this.#record.state !== "open") return "over";
    const mark = this.#record.marks.charAt(index);
    if (mark === MARKS.asked) return undefined;
    return mark === MARKS.rejected ? "rejected" : "passed";
  }

  #letTimePass(): void {
    const { state, deadlineMs, turnEndsAtMs } = this.#record;
    if (state !== "open") return;
    if (this.#nowMs >= deadlineMs) this.#end("expired", {});
    else if (turnEndsAtMs > 0 && this.#nowMs >= turnEndsAtMs) this.#pass(MARKS.timed_out, "timeout");
  }

  #pass(mark: string, reason: string): void {
    const { offer, turn } = this.#record;
    this.#mark(turn, mark);
    this.#change("passed", { userId: offer.candidates[turn] ?? "", reason });
    this.#askNext();
  }

  /** After a rejection. */
  #goOn(): void {
    if (this.#record.offer.mode === "one_by_one") this.#askNext();
    else if (!this.#record.marks.includes(MARKS.asked)) this.#end("expired", { reason: NO_CANDIDATE_LEFT });
  }

  #askNext(): void {
    const { offer, marks, deadlineMs } = this.#record;
    const turn = marks.indexOf(MARKS.waiting);
    if (turn === -1) {
      this.#end("expired", { reason: NO_CANDIDATE_LEFT });
      return;
    }
    this.#mark(turn, MARKS.asked);
    const turnEndsAtMs = Math.min(deadlineMs, this.#nowMs + offer.candidateTimeLimitMs);
    this.#update({ turn, turnEndsAtMs, askedAtMs: this.#nowMs, askedRevision: this.#record.revision + 1 });
    this.#change("asked", { userId: offer.candidates[turn] ?? "", expiresAtMs: turnEndsAtMs });
  }

  #end(state: Exclude<OfferStateName, "open">, facts: Partial<OfferChange>): void {
    this.#update({ state, endedAtMs: this.#nowMs, reason: facts.reason ?? "" });
    this.#change(state, facts);
  }

  #mark(index: number, mark: string): void {
    const { marks } = this.#record;
    this.#update({ marks: marks.slice(0, index) + mark + marks.slice(index + 1) });
  }

  #update(more: Partial<OfferRecord>): void {
    this.#record = { ...this.#record, ...more };
  }

  #change(kind: ChangeKind, facts: Partial<OfferChange>): void {
    const revision = this.#record.revision + 1;
    this.#update({ revision });
    this.#changes.push({
      userId: "",
      role: "",
      reason: "",
      fencingNumber: 0,
      expiresAtMs: 0,
      ...facts,
      revision,
      kind,
      timeMs: this.#nowMs,
      marks: this.#record.marks,
    });
  }
}
