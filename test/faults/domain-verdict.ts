/**
 * What a ledger of chat, offers and presence proves. Pure: the same ledger has the same verdict.
 *
 * Chat: one order for all readers, numbers without a gap or a double, what was acknowledged read once by everybody,
 * what was refused by nobody. Receipts only grow, and the last that was answered is in the store and with every
 * reader. Offers: one winner at most, none after the deadline, everybody told how it ended and nothing behind it, each
 * outcome and rejection once on Kafka by event id. Nobody who stays is told offline.
 */
import {
  markKey,
  receiptKey,
  type DeviceRecord,
  type DomainLedger,
  type OfferWrite,
} from "./domain-ledger.js";

export const DOMAIN_FIGURES = [
  "chatLost",
  "chatRepeated",
  "chatInvented",
  "chatDisordered",
  "chatNumbers",
  "chatTopic",
  "receiptsBackwards",
  "receiptsLost",
  "offerWinners",
  "offerUntold",
  "offerAfterEnd",
  "offerTopic",
  "offline",
] as const;
export type DomainFigure = (typeof DOMAIN_FIGURES)[number];

export interface DomainFinding {
  readonly figure: DomainFigure;
  readonly text: string;
}

/** What each of these ends leaves a worker with who did not reject. */
const TOLD_AT_END: ReadonlyMap<string, string> = new Map([
  ["accepted", "taken"],
  ["withdrawn", "withdrawn"],
  ["expired", "expired"],
]);

export function judgeDomain(ledger: DomainLedger): DomainFinding[] {
  const findings: DomainFinding[] = [];
  const find = (figure: DomainFigure, text: string): void => {
    findings.push({ figure, text });
  };
  judgeChat(ledger, find);
  judgeReceipts(ledger, find);
  for (const offer of ledger.offers.values()) judgeOffer(ledger, offer, find);
  judgeTopics(ledger, find);
  for (const { name, offline } of ledger.devices) {
    for (const userId of offline) find("offline", `${name} was told that ${userId} is offline`);
  }
  return findings;
}

type Find = (figure: DomainFigure, text: string) => void;

function judgeChat({ chats, devices }: DomainLedger, find: Find): void {
  /** What stands at a number of a channel, by whoever read it first. */
  const atNumber = new Map<string, string>();
  for (const device of devices) {
    const seen = new Set<string>();
    const last = new Map<string, { readonly number: number; readonly offset: number }>();
    for (const { channel, content, messageId, number, position } of device.chats) {
      const what = `${content} (number ${number} of ${channel}) by ${device.name}`;
      const write = chats.get(content);
      if (write === undefined || write.outcome === "refused") find("chatInvented", what);
      else if (write.channel !== channel || !device.channels.has(channel)) find("chatInvented", what);
      else if (write.messageId !== "" && write.messageId !== messageId)
        find("chatNumbers", `the id of ${what}`);
      if (seen.has(content)) find("chatRepeated", what);
      seen.add(content);
      const before = last.get(channel) ?? { number: 0, offset: 0 };
      if (number <= before.number || position.offset <= before.offset) {
        find("chatDisordered", `${what} behind number ${before.number}`);
      } else if (number !== before.number + 1) {
        find("chatNumbers", `${what} behind number ${before.number}`);
      }
      last.set(channel, { number, offset: position.offset });
      const key = `${channel} ${number}`;
      const known = atNumber.get(key) ?? content;
      atNumber.set(key, known);
      if (known !== content) find("chatNumbers", `${what}; others read ${known} there`);
    }
    for (const { content, channel, outcome } of chats.values()) {
      if (!device.channels.has(channel) || seen.has(content)) continue;
      if (outcome === "acknowledged" || isReadBy(devices, content)) {
        find("chatLost", `${content} of ${channel} by ${device.name}`);
      }
    }
  }
}

function isReadBy(devices: readonly DeviceRecord[], content: string): boolean {
  return devices.some(({ chats }) => chats.some((heard) => heard.content === content));
}

function judgeReceipts({ receipts, devices, marks }: DomainLedger, find: Find): void {
  const answered = new Map<string, { userId: string; channel: string; kind: string; number: number }>();
  const sent = new Map<string, number>();
  for (const { outcome, ...receipt } of receipts) {
    const { userId, channel, kind, number } = receipt;
    // What is read is delivered.
    for (const reached of kind === "read" ? ["read", "delivered"] : ["delivered"]) {
      const key = receiptKey(channel, userId, reached);
      sent.set(key, Math.max(sent.get(key) ?? 0, number));
      if (outcome !== "acknowledged" || (answered.get(key)?.number ?? 0) >= number) continue;
      answered.set(key, { ...receipt, kind: reached });
    }
  }
  for (const { userId, channel, kind, number } of answered.values()) {
    const mark = marks.get(markKey(userId, channel));
    const stored = (kind === "read" ? mark?.readNumber : mark?.deliveredNumber) ?? 0;
    if (stored < number) {
      find("receiptsLost", `${userId} has ${kind} up to ${number} in ${channel}, stored is ${stored}`);
    }
  }
  for (const { name, channels, userId: own, receipts: heard } of devices) {
    for (const [key, numbers] of heard) {
      for (const [index, number] of numbers.entries()) {
        const before = numbers[index - 1] ?? 0;
        if (number < before) find("receiptsBackwards", `${key}: ${number} behind ${before} at ${name}`);
      }
      const last = numbers.at(-1) ?? 0;
      if (last > (sent.get(key) ?? 0)) find("receiptsLost", `${key}: ${last} at ${name}, which nobody sent`);
    }
    for (const receipt of receipts) {
      const { userId, channel, kind } = receipt;
      if (userId === own || !channels.has(channel)) continue;
      const key = receiptKey(channel, userId, kind);
      const last = heard.get(key)?.at(-1) ?? 0;
      if (receipt.outcome === "acknowledged" && last < receipt.number) {
        find("receiptsLost", `${key}: ${receipt.number} was answered, ${name} heard ${last} at last`);
      }
    }
  }
}

function judgeOffer({ devices }: DomainLedger, offer: OfferWrite, find: Find): void {
  const { offerId, candidates, answers, end } = offer;
  const winners = [...answers].flatMap(([userId, answer]) => (answer === "accepted" ? [userId] : []));
  if (winners.length > 1) find("offerWinners", `${offerId} was accepted by ${winners.join(" and ")}`);
  if (winners.length > 0 && !winners.includes(end?.winnerId ?? "")) {
    find(
      "offerWinners",
      `${offerId} was accepted by ${winners.join()}, and stored is ${end?.winnerId ?? "nothing"}`,
    );
  }
  if (end?.state === "accepted" && end.endedAtMs >= end.expiresAtMs) {
    find("offerAfterEnd", `${offerId} was accepted ${end.endedAtMs - end.expiresAtMs} ms after its deadline`);
  }
  if (offer.outcome === "unknown" && end === undefined) return;
  const ended = TOLD_AT_END.get(end?.state ?? "");
  if (ended === undefined) find("offerUntold", `${offerId} did not end: ${end?.state ?? "unknown"}`);
  for (const { name, userId, offers } of devices) {
    const told = offers.filter((heard) => heard.offerId === offerId);
    const stored = told.filter(({ isStored }) => isStored);
    const states = told.map(({ state }) => state);
    if (new Set(stored.map(({ eventId }) => eventId)).size < stored.length || !isOneWay(states)) {
      find("offerAfterEnd", `${name} was told ${states.join()} of ${offerId}`);
    }
    if (!candidates.includes(userId)) {
      if (told.length > 0)
        find("offerUntold", `${name} was told ${states.join()} of ${offerId}, and is not asked`);
      continue;
    }
    const due = userId === end?.winnerId ? "accepted" : ended;
    const wanted = answers.get(userId) === "rejected" ? "rejected" : due;
    if (states.at(-1) !== wanted) {
      find("offerUntold", `${name} was told ${states.join()} of ${offerId}, due is ${wanted ?? "an end"}`);
    }
  }
}

/** Open, which may be told again, and then one end. */
function isOneWay(states: readonly string[]): boolean {
  return states.every((_, index) => index === 0 || states[index - 1] === "open");
}

function judgeTopics({ topics, offers, chats }: DomainLedger, find: Find): void {
  if (topics === undefined) return;
  const distinct = [...new Map(topics.map((event) => [event.eventId, event])).values()];
  const bySubject = new Map<string, string[]>();
  for (const { subjectId, type, workerId } of distinct) {
    const word = `${type} ${workerId}`.trim();
    bySubject.set(subjectId, [...(bySubject.get(subjectId) ?? []), word]);
  }
  for (const { offerId, candidates, answers, end } of offers.values()) {
    if (end === undefined) continue;
    const words = bySubject.get(offerId) ?? [];
    for (const userId of candidates) {
      const count = words.filter((word) => word === `offer.rejected ${userId}`).length;
      const due = answers.get(userId) === "rejected" ? 1 : 0;
      // A rejection that was not answered may have had its effect.
      if (count < due || count > 1)
        find("offerTopic", `Kafka has ${count} rejections of ${offerId} by ${userId}`);
    }
    const ends = words.filter((word) => !word.startsWith("offer.rejected"));
    const wanted = ["offer.open", `offer.${end.state} ${end.winnerId}`.trim()];
    if (ends.join() !== wanted.join()) {
      find("offerTopic", `of ${offerId} Kafka has ${ends.join()}, due is ${wanted.join()}`);
    }
  }
  for (const { messageId, content, outcome } of chats.values()) {
    const said = bySubject.get(messageId)?.length ?? 0;
    if (outcome === "acknowledged" && said !== 1) find("chatTopic", `Kafka has ${content} ${said} times`);
  }
}
