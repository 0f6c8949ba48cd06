/**
 * What an offer is: its terms, which never change, where it stands, and what was changed. A candidate is one of
 * the workers whom it is made to, in the order in which they are asked. What moves it is in `offer-machine.ts`.
 */
export type OfferMode = "all_at_once" | "one_by_one";
/** An offer ends once, and never leaves its end. */
export type OfferStateName = "open" | "accepted" | "withdrawn" | "expired";
export type CandidateState = "waiting" | "asked" | "rejected" | "timed_out" | "offline" | "accepted";

/** A candidate's state as one letter: the states of all candidates are one text, in their order. */
export const MARKS: Readonly<Record<CandidateState, string>> = {
  waiting: "w",
  asked: "a",
  rejected: "r",
  timed_out: "t",
  offline: "o",
  accepted: "A",
};

const STATES_BY_MARK: ReadonlyMap<string, CandidateState> = new Map(
  Object.entries(MARKS).map(([state, mark]) => [mark, state as CandidateState]),
);

/** Waiting, where there is no such candidate. */
export function candidateState(marks: string, index: number): CandidateState {
  return STATES_BY_MARK.get(marks.charAt(index)) ?? "waiting";
}

/** An offer's name. Both parts are identifiers (see `channel/channel.ts`). */
export interface OfferName {
  readonly app: string;
  readonly offerId: string;
}

export interface NewOffer extends OfferName {
  /** The order or ride that it is for. */
  readonly subjectId: string;
  readonly mode: OfferMode;
  /** Distinct identifiers, in the order in which they are asked. */
  readonly candidates: readonly string[];
  /** From its creation on. */
  readonly timeLimitMs: number;
  /** Instead of the limit where it is set: milliseconds since 1970-01-01 UTC. */
  readonly expiresAtMs?: number;
  /** How long each candidate has, one by one. */
  readonly candidateTimeLimitMs: number;
  /** What all its events begin with: an encoded `realtime.client.v1.Event`, with an offer that lacks its state. */
  readonly template: Uint8Array;
  /** Of everything that was asked for: another offer under the same id has another. */
  readonly digest: string;
  /** Unlike any other offer's, also of an earlier one under the same id: what its event ids begin with. */
  readonly seed: string;
}

export type ChangeKind = "open" | "asked" | "rejected" | "passed" | "accepted" | "withdrawn" | "expired";

/** One step of an offer, as it is told to candidates and to other services. */
export interface OfferChange {
  /** Counts the changes of an offer from 1 on. */
  readonly revision: number;
  readonly kind: ChangeKind;
  readonly timeMs: number;
  /** The candidate whom it concerns; empty where it concerns all. */
  readonly userId: string;
  /** As which they answered; empty where they did not. */
  readonly role: string;
  /** In the words of who caused it; `timeout`, `offline` or `no_candidate_left` where nobody did. */
  readonly reason: string;
  /** 0 but for `accepted`. */
  readonly fencingNumber: number;
  /** Until when it may be answered; 0 where it is over. */
  readonly expiresAtMs: number;
  /** The candidates' states right after it. */
  readonly marks: string;
}

/** Where an offer stands. */
export interface OfferView extends OfferName {
  readonly subjectId: string;
  readonly mode: OfferMode;
  readonly state: OfferStateName;
  readonly candidates: readonly string[];
  readonly marks: string;
  /** Empty where nobody has it. */
  readonly winnerId: string;
  readonly fencingNumber: number;
  readonly reason: string;
  readonly createdAtMs: number;
  readonly expiresAtMs: number;
  /** 0 while it is open. */
  readonly endedAtMs: number;
  /** Of those who are asked now: until when, since when, and the revision of the change that asked them. */
  readonly answerUntilMs: number;
  readonly askedAtMs: number;
  readonly askedRevision: number;
  readonly template: Uint8Array;
  readonly seed: string;
}

/** Why an offer ended that nobody can accept any more. */
export const NO_CANDIDATE_LEFT = "no_candidate_left";

/** The id of the event that tells of a change: the same for everybody who is told, and whenever it is told again. */
export function changeEventId(seed: string, revision: number): string {
  return `${seed}-${revision}`;
}
