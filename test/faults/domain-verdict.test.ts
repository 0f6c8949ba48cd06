import { beforeEach, describe, expect, it } from "vitest";
import { DomainLedger, markKey, receiptKey, type DeviceRecord, type OfferWrite } from "./domain-ledger.js";
import { judgeDomain } from "./domain-verdict.js";

const CHANNEL = "group:g0";
let ledger: DomainLedger;
let ann: DeviceRecord;
let bob: DeviceRecord;
let offer: OfferWrite;

/** Two users, one message, one receipt and one offer, all as it should be. */
beforeEach(() => {
  ledger = new DomainLedger();
  ann = ledger.device("ann-phone", "ann", new Set([CHANNEL]));
  bob = ledger.device("bob-phone", "bob", new Set([CHANNEL]));
  say(1);
  say(2);
  const receipt = { userId: "bob", channel: CHANNEL, kind: "read" as const, number: 2 };
  ledger.receipts.push({ ...receipt, outcome: "acknowledged" });
  ann.receipts.set(receiptKey(CHANNEL, "bob", "read"), [1, 2]);
  ledger.marks.set(markKey("bob", CHANNEL), { readNumber: 2, deliveredNumber: 2 });
  offer = {
    offerId: "o1",
    candidates: ["ann", "bob"],
    outcome: "acknowledged",
    answers: new Map([
      ["ann", "accepted"],
      ["bob", "conflict"],
    ]),
    end: ended("ann"),
  };
  ledger.offers.set("o1", offer);
  tell(ann, "open", "accepted");
  tell(bob, "open", "taken");
  ledger.topics = [
    onTopic("e1", "offer.open", "o1"),
    onTopic("e2", "offer.accepted", "o1", "ann"),
    onTopic("e2", "offer.accepted", "o1", "ann"),
    onTopic("c1", "chat.message.sent", "m1"),
    onTopic("c2", "chat.message.sent", "m2"),
  ];
});

function say(number: number): void {
  const content = `c${number}`;
  const messageId = `m${number}`;
  const write = { content, writer: "ann", channel: CHANNEL, outcome: "acknowledged" as const, messageId };
  ledger.chats.set(content, write);
  const position = { epoch: "e", offset: number, tag: number };
  for (const device of [ann, bob])
    device.chats.push({ channel: CHANNEL, position, messageId, number, content });
}

function tell(device: DeviceRecord, ...states: readonly string[]): void {
  for (const state of states)
    device.offers.push({ offerId: "o1", state, eventId: `${state}-${device.offers.length}`, isStored: true });
}

function onTopic(eventId: string, type: string, subjectId: string, workerId = "") {
  return { eventId, type, subjectId, workerId };
}

const figures = () => [...new Set(judgeDomain(ledger).map(({ figure }) => figure))];

describe("the verdict on chat, offers and presence", () => {
  it("finds nothing where all is as it should be, repeats on Kafka with the same id included", () => {
    expect(judgeDomain(ledger)).toEqual([]);
  });

  it.for<[string, () => void, readonly string[]]>([
    ["a message that one did not read", () => bob.chats.pop(), ["chatLost"]],
    ["a gap in the numbers", () => bob.chats.shift(), ["chatNumbers", "chatLost"]],
    ["a message that was refused and read", () => refuse("c2"), ["chatInvented"]],
    ["another order", () => bob.chats.reverse(), ["chatNumbers", "chatDisordered"]],
    ["a message twice", () => bob.chats.push(...bob.chats.slice(-1)), ["chatRepeated", "chatDisordered"]],
    ["a receipt that goes back", () => heardReceipts(2, 1, 2), ["receiptsBackwards"]],
    ["a reader without the last receipt", () => heardReceipts(1), ["receiptsLost"]],
    ["a mark that is lost", () => ledger.marks.clear(), ["receiptsLost"]],
    ["a second winner", () => offer.answers.set("bob", "accepted"), ["offerWinners"]],
    ["a winner who is not the stored one", () => (offer.end = ended("bob")), ["offerWinners", "offerUntold"]],
    ["a loser who is not told", () => bob.offers.pop(), ["offerUntold"]],
    ["a word behind the end", () => tell(bob, "expired"), ["offerAfterEnd", "offerUntold"]],
    ["an offer that is open again", () => tell(bob, "open", "taken"), ["offerAfterEnd"]],
    ["an accept after the deadline", expireEarlier, ["offerAfterEnd"]],
    ["a rejection that is not on Kafka", () => offer.answers.set("bob", "rejected"), ["offerTopic"]],
    ["a rejection twice on Kafka", rejectTwice, ["offerTopic"]],
    ["somebody offline who stays", () => ann.offline.push("bob"), ["offline"]],
    ["an outcome twice on Kafka", () => addTopic("e3", "offer.accepted", "o1"), ["offerTopic"]],
    ["a message twice on Kafka", () => addTopic("c3", "chat.message.sent", "m1"), ["chatTopic"]],
    ["nothing on Kafka", () => (ledger.topics = []), ["offerTopic", "chatTopic"]],
  ])("finds %s", ([, breakIt, found]) => {
    breakIt();
    expect(figures()).toEqual(expect.arrayContaining([...found]));
  });
});

function rejectTwice(): void {
  for (const eventId of ["e3", "e4"]) addTopic(eventId, "offer.rejected");
}

function refuse(content: string): void {
  const write = ledger.chats.get(content);
  if (write !== undefined) write.outcome = "refused";
}

function heardReceipts(...numbers: readonly number[]): void {
  ann.receipts.set(receiptKey(CHANNEL, "bob", "read"), [...numbers]);
}

const ended = (winnerId: string) => ({ state: "accepted", winnerId, expiresAtMs: 2_000, endedAtMs: 1_999 });

function expireEarlier(): void {
  offer.end = { ...ended("ann"), expiresAtMs: 1_999 };
}

function addTopic(eventId: string, type: string, subjectId = "o1"): void {
  ledger.topics = [...(ledger.topics ?? []), onTopic(eventId, type, subjectId, "bob")];
}
