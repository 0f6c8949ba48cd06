/**
 * Chat, offers and presence beside the load of a scenario, and their verdict at its end: what it found is a breach of
 * the scenario, its figures are notes. Nothing of it is ever allowed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { inject } from "vitest";
import { EventTopics, type ReadRecord } from "#test/e2e/event-topics.js";
import { DomainFleet } from "./domain-fleet.js";
import { ClusterGateway } from "./domain-gateway.js";
import { DomainLedger, type TopicEvent } from "./domain-ledger.js";
import { OfferBackend } from "./domain-offers.js";
import { judgeDomain } from "./domain-verdict.js";
import type { LoadOptions } from "./load.js";
import type { ScenarioOptions } from "./scenario.js";

type Prepared = Parameters<NonNullable<ScenarioOptions["prepare"]>>[0];

const TOPICS = ["offer-events", "chat-events"];
const DRAIN_MS = 40_000;
/** What comes twice comes a moment later. */
const QUIET_MS = 1_000;
const MAX_TEXTS = 20;

/** The other load is there to be disturbed by it, and little. */
export const BESIDE_DOMAIN: Partial<LoadOptions> = {
  orders: 5,
  readers: 10,
  durablePerSecond: 10,
  locationsPerSecond: 20,
};

/** For a scenario's `prepare`. */
export async function startDomain(prepared: Prepared): Promise<void> {
  const { cluster, notes, breaches, finishing, stopping } = prepared;
  const random = prepared.random.branch();
  const ledger = new DomainLedger();
  const gateway = new ClusterGateway(cluster);
  const backend = new OfferBackend({ gateway, ledger, random: random.branch() });
  const fleet = new DomainFleet({ gateway, app: cluster.app, ledger, random: random.branch(), backend });
  stopping.push(() => {
    backend.stop();
    fleet.stop();
  });
  const topics = await EventTopics.connect(inject("kafkaBrokers"));
  stopping.push(() => void topics.close());
  const records = await Promise.all(
    TOPICS.map((topic) => topics.read(topic, `domain-${topic}-${cluster.app}`)),
  );
  await fleet.start();
  backend.start(fleet.userIds);
  finishing.push(async () => {
    await backend.finish();
    await fleet.finish();
    const read = () => records.flatMap((each) => topicEvents(each, cluster.app));
    const untilMs = performance.now() + DRAIN_MS;
    for (let isQuiet = false; !isQuiet && performance.now() < untilMs;) {
      await sleep(QUIET_MS);
      ledger.topics = read();
      isQuiet = judgeDomain(ledger).length === 0;
    }
    await sleep(QUIET_MS);
    ledger.topics = read();
    const findings = judgeDomain(ledger);
    const counts = new Map<string, number>();
    for (const { figure } of findings) counts.set(figure, (counts.get(figure) ?? 0) + 1);
    for (const [figure, count] of counts) breaches.push(`${figure} ${count}, allowed 0`);
    breaches.push(...findings.slice(0, MAX_TEXTS).map(({ figure, text }) => `${figure}: ${text}`));
    notes.push(figuresOf(ledger, fleet));
  });
}

function figuresOf(ledger: DomainLedger, fleet: DomainFleet): string {
  const acknowledged = (writes: Iterable<{ outcome: string }>): number =>
    [...writes].filter(({ outcome }) => outcome === "acknowledged").length;
  const ends = new Map<string, number>();
  for (const { end } of ledger.offers.values()) {
    if (end !== undefined) ends.set(end.state, (ends.get(end.state) ?? 0) + 1);
  }
  const closed = fleet.records.flatMap(({ entries }) => entries.filter(({ type }) => type === "closed"));
  return [
    `${acknowledged(ledger.chats.values())} of ${ledger.chats.size} messages`,
    `${acknowledged(ledger.receipts)} of ${ledger.receipts.length} receipts`,
    `${ledger.offers.size} offers: ${[...ends].map(([state, count]) => `${count} ${state}`).join(", ")}`,
    `${ledger.topics?.length ?? 0} events in Kafka`,
    `${closed.length} of their sockets closed`,
  ].join("; ");
}

/** What of a topic is of this app. */
function topicEvents(records: readonly ReadRecord[], app: string): TopicEvent[] {
  return records.flatMap(({ value }) => {
    const event = JSON.parse(value) as {
      readonly eventId: string;
      readonly type: string;
      readonly app?: string;
      readonly data: { readonly offerId?: string; readonly messageId?: string; readonly workerId?: string };
    };
    if (event.app !== app) return [];
    const { offerId, messageId = "", workerId = "" } = event.data;
    return [{ eventId: event.eventId, type: event.type, subjectId: offerId ?? messageId, workerId }];
  });
}
