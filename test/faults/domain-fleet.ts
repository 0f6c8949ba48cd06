/**
 * Users who talk and work: each is in one group and most are in a conversation of two, says something now and then,
 * confirms what was read, and answers the offers that a backend makes to some of them. A few have a second device; the
 * last of each group says nothing. What is not answered is sent again with the same request id until it is known.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { conversationOf } from "#fanout/chat/conversation.js";
import { ReceiptKind } from "#proto/gen/realtime/client/v1/event.js";
import { SURE_REFUSALS } from "./api-writer.js";
import type { ClientBody, Heard, HeardEvent } from "./app-frames.js";
import { Device } from "./device.js";
import type { DomainGateway } from "./domain-gateway.js";
import { markKey, receiptKey, type DeviceRecord, type DomainLedger, type Outcome } from "./domain-ledger.js";
import { LATE, SHORT_MS, type OfferBackend } from "./domain-offers.js";
import type { ReaderRecord } from "./ledger.js";
import type { Random } from "#test/support/random.js";

export interface DomainFleetOptions {
  readonly gateway: DomainGateway;
  readonly app: string;
  readonly ledger: DomainLedger;
  readonly random: Random;
  readonly backend: OfferBackend;
  readonly users?: number;
  readonly groups?: number;
  /** How long the outcome of anything is asked for. */
  readonly deadlineMs?: number;
  /** What comes last has so long. */
  readonly settleMs?: number;
  readonly sayEveryMs?: number;
}

/** Of one user at the channel that they say something in, one thing after the other. */
interface Voice {
  readonly user: User;
  readonly channel: string;
  isBusy: boolean;
  said: number;
}

interface User {
  readonly id: string;
  readonly device: Device;
  readonly record: DeviceRecord;
  readonly channels: readonly string[];
  /** By channel, the number up to which it has confirmed. */
  readonly confirmed: Map<string, number>;
}

const RETRY_MS = 100;
const SETTLE_MS = 500;
const CONFIRM_EVERY_MS = 200;
const SAY_EVERY_MS = 40;
const TABLETS = 3;

export class DomainFleet {
  readonly devices: Device[] = [];
  readonly records: ReaderRecord[] = [];
  readonly #users: User[] = [];
  readonly #voices: Voice[] = [];
  readonly #working = new Set<Promise<void>>();
  readonly #stopping = new AbortController();
  #running: Promise<unknown> = Promise.resolve();
  #asked = 0;

  constructor(private readonly options: DomainFleetOptions) {}

  get userIds(): readonly string[] {
    return this.#users.map(({ id }) => id);
  }

  /** Resolves when everybody follows; then it goes on by itself. */
  async start(): Promise<void> {
    const { users = 12, groups = 3, gateway, app } = this.options;
    const ids = Array.from({ length: users }, (_, index) => `u${index}`);
    const channelsOf = new Map<string, string[]>(ids.map((id) => [id, []]));
    const into = async (channel: string, members: readonly string[]): Promise<void> => {
      await gateway.grantMembers(channel, members);
      for (const member of members) channelsOf.get(member)?.push(channel);
    };
    for (let group = 0; group < groups; group += 1) {
      await into(
        `group:g${group}`,
        ids.filter((_, index) => index % groups === group),
      );
    }
    const talking = ids.slice(0, users - groups);
    for (let index = 0; index + 1 < talking.length; index += 2) {
      const pair = talking.slice(index, index + 2) as [string, string];
      await into(conversationOf({ app, users: pair }).name, pair);
    }
    for (const [index, id] of ids.entries()) {
      const channels = channelsOf.get(id) ?? [];
      const { device, record } = await this.#open(`${id}-phone`, id, channels);
      const user: User = { id, device, record, channels, confirmed: new Map() };
      this.#users.push(user);
      if (index < TABLETS) await this.#open(`${id}-tablet`, id, channels);
      if (!talking.includes(id)) continue;
      for (const channel of channels) this.#voices.push({ user, channel, isBusy: false, said: 0 });
    }
    for (const { id, device } of this.#users) {
      const others = this.#users.filter((user) => user.channels[0] === channelsOf.get(id)?.[0]);
      for (const other of others) if (other.id !== id) await device.follow(`presence:${other.id}`);
    }
    this.#running = Promise.all([
      this.#every(this.options.sayEveryMs ?? SAY_EVERY_MS, () => this.#sayOne()),
      this.#every(CONFIRM_EVERY_MS, () => this.#confirmSome()),
    ]);
  }

  /** Ends what users begin; resolves when all of it has its outcome and everybody has confirmed the last. */
  async finish(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#settled();
    // What comes a moment later is confirmed too.
    await sleep(this.options.settleMs ?? SETTLE_MS);
    for (const user of this.#users) for (const channel of user.channels) this.#confirm(user, channel, "read");
    await this.#settled();
    for (const { id, channels } of this.#users) {
      const marks = await this.options.backend.insistently(() => this.options.gateway.marksOf(id));
      for (const channel of channels) {
        const mark = marks?.get(channel);
        if (mark !== undefined) this.options.ledger.marks.set(markKey(id, channel), mark);
      }
    }
  }

  stop(): void {
    this.#stopping.abort();
    for (const device of this.devices) device.stop();
  }

  async #settled(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  async #open(name: string, userId: string, channels: readonly string[]) {
    const { gateway, ledger, random } = this.options;
    const record = ledger.device(name, userId, new Set(channels));
    const reader: ReaderRecord = { name, allowRepeats: false, entries: [] };
    this.records.push(reader);
    const branch = random.branch();
    const isFirst = name.endsWith("phone");
    const device = new Device({
      name,
      token: await gateway.token(userId),
      framing: this.devices.length % 2 === 0 ? "protobuf" : "json",
      edges: () => {
        const edges = gateway.edges();
        const first = branch.seed % edges.length;
        return [...edges.slice(first), ...edges.slice(0, first)];
      },
      record: reader,
      random: branch,
      tellsPositions: true,
      onEvent: (event) => this.#note(event, record, isFirst ? userId : undefined),
    });
    this.devices.push(device);
    await device.open();
    for (const channel of channels) await device.follow(channel);
    return { device, record };
  }

  #note(
    { id, channel, position, domain }: HeardEvent,
    record: DeviceRecord,
    answers: string | undefined,
  ): void {
    switch (domain?.type) {
      case "chat": {
        const { messageId, number, content } = domain;
        if (position !== undefined) record.chats.push({ channel, position, messageId, number, content });
        return;
      }
      case "receipt": {
        const key = receiptKey(channel, domain.userId, domain.kind);
        record.receipts.set(key, [...(record.receipts.get(key) ?? []), domain.number]);
        return;
      }
      case "offer": {
        const { offerId, state } = domain;
        const isNew = !record.offers.some(({ eventId }) => eventId === id);
        record.offers.push({ offerId, state, eventId: id, isStored: position !== undefined });
        if (state === "open" && isNew && answers !== undefined) this.#do(this.#answer(answers, offerId));
        return;
      }
      case "presence":
        if (!domain.online) record.offline.push(domain.userId);
        return;
      case undefined:
        return;
    }
  }

  async #every(periodMs: number, act: () => void): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      act();
      await sleep(periodMs, undefined, { signal }).catch(() => undefined);
    }
  }

  #do(work: Promise<void>): void {
    const kept = work.finally(() => this.#working.delete(kept));
    this.#working.add(kept);
  }

  #sayOne(): void {
    const free = this.#voices.filter(({ isBusy }) => !isBusy);
    if (free.length === 0) return;
    const voice = this.options.random.pick(free);
    voice.isBusy = true;
    this.#do(this.#say(voice).finally(() => (voice.isBusy = false)));
  }

  async #say(voice: Voice): Promise<void> {
    const { user, channel } = voice;
    voice.said += 1;
    const content = `${user.id} says ${voice.said} in ${channel}`;
    const write = { content, writer: user.id, channel, outcome: "unknown" as Outcome, messageId: "" };
    this.options.ledger.chats.set(content, write);
    const clientMessageId = voice.said % 2 === 0 ? `cm-${channel}-${voice.said}` : "";
    const target = { $case: "channel" as const, value: channel };
    const { outcome, answer } = await this.#ask(user.device, {
      $case: "chatSend",
      value: { target, content, messageType: "", clientMessageId },
    });
    write.outcome = outcome;
    if (answer?.type === "reply") write.messageId = answer.id;
  }

  #confirmSome(): void {
    const { random } = this.options;
    const user = random.pick(this.#users);
    this.#confirm(user, random.pick(user.channels), random.next() < 0.5 ? "delivered" : "read");
  }

  /** All that the user has read so far. */
  #confirm(user: User, channel: string, kind: "delivered" | "read"): void {
    const last = user.record.chats.findLast((heard) => heard.channel === channel);
    const key = `${channel} ${kind}`;
    if (last === undefined || (user.confirmed.get(key) ?? 0) >= last.number) return;
    user.confirmed.set(key, last.number);
    const write = { userId: user.id, channel, kind, number: last.number, outcome: "unknown" as Outcome };
    this.options.ledger.receipts.push(write);
    const send = async (): Promise<void> => {
      const wire = kind === "read" ? ReceiptKind.RECEIPT_KIND_READ : ReceiptKind.RECEIPT_KIND_DELIVERED;
      const value = { messageId: last.messageId, kind: wire, upTo: true };
      write.outcome = (await this.#ask(user.device, { $case: "receipt", value })).outcome;
    };
    this.#do(send());
  }

  async #answer(userId: string, offerId: string): Promise<void> {
    const { random, ledger } = this.options;
    const choice = random.next();
    const afterMs = random.integer(0, 300) + (offerId.startsWith(LATE) ? SHORT_MS - 150 : 0);
    if (choice > 0.8) return;
    await sleep(afterMs);
    const user = this.#users.find(({ id }) => id === userId);
    const offer = ledger.offers.get(offerId);
    if (user === undefined || offer === undefined) return;
    const body: ClientBody =
      choice < 0.7
        ? { $case: "offerAccept", value: { offerId } }
        : { $case: "offerReject", value: { offerId, reason: "" } };
    const { outcome, answer } = await this.#ask(user.device, body);
    if (outcome === "acknowledged") {
      offer.answers.set(userId, body.$case === "offerAccept" ? "accepted" : "rejected");
    } else if (answer?.type === "error") offer.answers.set(userId, answer.code);
  }

  /** Until the outcome is known, or the time is over. */
  async #ask(device: Device, body: ClientBody): Promise<{ outcome: Outcome; answer: Heard | undefined }> {
    const untilMs = performance.now() + (this.options.deadlineMs ?? 30_000);
    this.#asked += 1;
    const requestId = `request-${this.#asked}`;
    for (let attempt = 0; ; attempt += 1) {
      const timeoutMs = untilMs - performance.now();
      if (timeoutMs <= 0) return { outcome: "unknown", answer: undefined };
      const answer = await device.request(body, { requestId, timeoutMs });
      if (answer?.type === "reply") return { outcome: "acknowledged", answer };
      if (answer?.type === "error" && isSure(answer.code)) {
        // A refusal says nothing about an earlier attempt.
        return { outcome: attempt === 0 ? "refused" : "unknown", answer };
      }
      await sleep(Math.max(RETRY_MS, answer?.type === "error" ? answer.retryAfterMs : 0));
    }
  }
}

function isSure(code: string): boolean {
  return SURE_REFUSALS.has(code) || code === "expired";
}
