/** The fanout's metrics: what its counters say, under the names that dashboards use. */
import type { ApiServer } from "#fanout/api/api-server.js";
import type { Fanout } from "#fanout/fanout.js";
import type { OpenEvents } from "#services/fanout/events.js";
import type { OpenStores } from "#services/fanout/stores.js";
import { byLabel, type Metrics } from "./metrics.js";

export function publishFanoutMetrics(
  metrics: Metrics,
  parts: {
    readonly fanout: Fanout;
    readonly api: ApiServer;
    readonly events: OpenEvents;
    readonly stores: OpenStores;
  },
): void {
  const { fanout, api, events, stores } = parts;
  const { counters } = fanout;
  const counter = (name: string, help: string, read: () => number): void =>
    metrics.publishCounter({ name: `realtime_${name}`, help, read });
  const gauge = (name: string, help: string, read: () => number): void =>
    metrics.publishGauge({ name: `realtime_${name}`, help, read });
  const labelled = (
    name: string,
    help: string,
    label: string,
    read: () => Iterable<readonly [string, number]>,
  ): void =>
    metrics.publishLabelledCounter({
      name: `realtime_${name}`,
      help,
      labelNames: [label],
      read: () => byLabel(read()),
    });

  metrics.publishLabelledCounter({
    name: "realtime_messages_received_total",
    help: "Frames of clients, by what they ask for",
    labelNames: ["namespace", "event"],
    read: () => namespaceAndEvent(counters.framesReceived),
  });
  metrics.publishLabelledCounter({
    name: "realtime_messages_sent_total",
    help: "Events handed to edges, once for each edge and channel",
    labelNames: ["namespace", "event"],
    read: () => byLabel(counters.eventsSent, ["native"]),
  });
  counter("location_updates_total", "Locations accepted", () => counters.locationUpdates);
  labelled(
    "locations_dropped_total",
    "Locations that could not be believed",
    "reason",
    () => counters.locationsDropped,
  );
  counter("locations_sampled_total", "Locations handed to Kafka", () => counters.locationsSampled);
  counter("location_sample_failures_total", "Samples that Kafka did not take", () => counters.sampleFailures);
  labelled("request_errors_total", "Frames answered with an error", "code", () => counters.requestErrors);
  labelled("rate_limited_total", "Frames refused by rate limits", "class", () => counters.rateLimited);
  counter("floods_closed_total", "Sockets closed because they sent on", () => counters.floodsClosed);
  counter("limit_draws_total", "Times when tokens were drawn from shared buckets", () => counters.limitDraws);
  counter(
    "limit_draws_without_store_total",
    "Times when tokens were drawn from copies, the store away",
    () => counters.limitDrawsWithoutStore,
  );
  counter("sessions_opened_total", "New sessions", () => counters.sessionsOpened);
  counter(
    "sessions_restored_total",
    "Sessions taken over from another home",
    () => counters.sessionsRestored,
  );
  counter("sessions_released_total", "Sessions given to another home", () => counters.sessionsReleased);
  counter(
    "sessions_resumed_total",
    "Sessions continued on another connection",
    () => counters.sessionsResumed,
  );
  counter(
    "sessions_refused_total",
    "New sessions told to come back: too many waited, or were of one user",
    () => counters.sessionsRefused,
  );
  labelled(
    "resumes_refused_total",
    "Resumes that were refused or failed",
    "code",
    () => counters.resumesRefused,
  );
  counter(
    "tokens_refreshed_total",
    "Sessions that went on with another token",
    () => counters.tokensRefreshed,
  );
  counter("revocations_total", "Revocations made here", () => counters.revocationsMade);
  gauge("revocations", "Revocations known here", () => fanout.tokens.revocations.size);
  counter(
    "revocations_not_taken_total",
    "Revocations that do not count here, because too many are known",
    () => fanout.tokens.revocations.overflows,
  );
  gauge(
    "revocations_unlogged",
    "Revocations that Kafka is not known to have",
    () => fanout.tokens.revocations.unlogged,
  );
  counter(
    "sessions_revoked_total",
    "Sessions closed or refused because their token is revoked",
    () => counters.sessionsRevoked,
  );
  counter(
    "sessions_over_limit_total",
    "Sessions closed or refused because their user has too many",
    () => counters.sessionsOverLimit,
  );
  counter(
    "gaps_filled_total",
    "Events read from history because pub/sub lost them",
    () => counters.gapsFilled,
  );
  counter(
    "history_holes_total",
    "Times when clients were told that events are lost",
    () => counters.historyHoles,
  );
  counter("epochs_rotated_total", "Channels whose history had forked", () => counters.epochsRotated);
  counter("partitions_lost_total", "Partitions that lost their data", () => counters.partitionsLost);
  counter(
    "stale_latest_total",
    "Latest values that were older than what was known",
    () => counters.staleLatest,
  );
  counter(
    "store_failures_total",
    "Operations that failed because the store was away",
    () => counters.storeFailures,
  );
  counter("links_accepted_total", "Links of edges accepted", () => counters.linksAccepted);
  counter("links_refused_total", "Links refused", () => counters.linksRefused);
  gauge("sessions", "Sessions that live here", () => fanout.sessions);
  gauge("sessions_waiting", "Sessions that wait to be opened", () => fanout.sessionsWaiting);
  gauge("sessions_opening", "Sessions that are being opened", () => fanout.sessionsOpening);
  gauge("online_users", "Users that live here", () => fanout.onlineUsers);
  gauge("followed_channels", "Channels followed here", () => fanout.followedChannels);
  gauge("links", "Links to edges", () => fanout.links);
  gauge("link_queued_bytes", "Bytes queued for edges", () => fanout.linkQueuedBytes);
  const { presence } = fanout;
  labelled("presence_announced_total", "Changes of presence and of members that were told", "change", () =>
    Object.entries(presence.counters.announced),
  );
  counter(
    "presence_dropped_total",
    "Connections that were left under links that had ended, looked after here",
    () => presence.counters.dropped,
  );
  counter(
    "presence_abandoned_total",
    "Changes of presence that were given up",
    () => presence.counters.abandoned,
  );
  gauge("presence_owed", "Changes of presence not yet written", () => presence.keeper.owed);
  counter("messages_said_total", "Chat messages stored", () => counters.messagesSaid);
  counter("messages_repeated_total", "Chat messages sent again", () => counters.messagesRepeated);
  counter("receipts_total", "Receipts kept", () => counters.receipts);
  counter(
    "receipts_not_told_total",
    "Receipts kept in channels with too many readers to tell them",
    () => counters.receiptsNotTold,
  );
  counter("notifications_seen_total", "Marks of seen notifications", () => counters.notificationsSeen);
  counter(
    "notifications_expired_total",
    "Stored notifications not given again, because their time was over",
    () => counters.notificationsExpired,
  );
  gauge("typing", "Connections that type, once for each channel", () => fanout.chat.typing.typing);
  counter("typing_lapsed_total", "Ends of typing that apps did not tell", () => counters.typingLapsed);
  gauge("locations_waiting", "Last known locations not yet written", () => fanout.waitingLocations);

  const { counters: consumed } = fanout.consumer;
  labelled("consumed_events_total", "Events of other services, by what became of them", "outcome", () =>
    Object.entries(consumed),
  );
  metrics.publishLabelledGauge({
    name: "realtime_consumer_lag",
    help: "Records that are not consumed yet",
    labelNames: ["topic"],
    read: () => byLabel(Object.entries(events.lag())),
  });
  counter("dead_letters_total", "Unreadable records put aside", () => events.deadLetters());
  counter("kafka_records_sent_total", "Records that Kafka took", () => events.sinkCounters().sent);
  counter(
    "kafka_records_failed_total",
    "Records that Kafka did not take",
    () => events.sinkCounters().failed,
  );
  gauge("kafka_records_buffered", "Records on their way to Kafka", () => events.sinkCounters().buffered);

  const relay = fanout.relay;
  gauge(
    "outbox_events",
    "Events that wait for Kafka, in the partitions relayed here",
    () => relay?.waiting.events ?? 0,
  );
  gauge("outbox_lag_seconds", "Age of the oldest of them", () => (relay?.waiting.oldestAgeMs ?? 0) / 1000);
  gauge("outbox_leases", "Leases to relay held here, of 8 in all", () => relay?.leases ?? 0);
  counter("outbox_relayed_total", "Events of the outbox that Kafka took", () => relay?.counters.relayed ?? 0);
  counter(
    "outbox_failures_total",
    "Attempts to relay that failed and are made again",
    () => relay?.counters.failures ?? 0,
  );
  counter(
    "outbox_dead_letters_total",
    "Events of the outbox put aside",
    () => relay?.counters.deadLetters ?? 0,
  );
  counter(
    "outbox_discarded_total",
    "Events of the outbox that could not even be put aside",
    () => relay?.counters.discarded ?? 0,
  );

  const { counters: offers } = fanout.offers;
  labelled("offer_commands_total", "Offers made, answered, withdrawn or passed on here", "outcome", () =>
    Object.entries(offers.commands),
  );
  labelled(
    "offer_changes_delivered_total",
    "Changes of offers told to all concerned",
    "change",
    () => offers.delivered,
  );
  counter("offer_tellings_total", "Workers told of a change of an offer", () => offers.tellings);
  counter(
    "offer_delivery_failures_total",
    "Deliveries of offers that failed and are made again",
    () => offers.deliveryFailures,
  );
  counter(
    "offer_deliveries_late_total",
    "Deliveries taken on because whoever made the change had not",
    () => offers.late,
  );
  counter(
    "offer_deliveries_left_total",
    "Deliveries left to the sweep because too many waited here",
    () => offers.leftToSweep,
  );
  gauge(
    "offers_undelivered",
    "Offers whose changes are being delivered here",
    () => fanout.offers.undelivered,
  );
  gauge("offers_open", "Offers that are open in the partitions swept here", () => fanout.offers.open);

  labelled("redis_hits_total", "Operations on Redis", "operation", () => stores.operations());

  metrics.publishLabelledCounter({
    name: "realtime_api_calls_total",
    help: "Calls of backend services",
    labelNames: ["method", "code"],
    read: function* () {
      for (const { method, code, count } of api.counters.callCounts()) yield [[method, code], count] as const;
    },
  });
  gauge("api_publish_streams", "Streams of publishes that are open", () => api.openStreams);
  gauge("api_streamed_items", "Items read from them and not answered yet", () => api.streamedItems);
}

/** The fanout counts under "namespace event". */
function* namespaceAndEvent(counts: ReadonlyMap<string, number>) {
  for (const [name, count] of counts) {
    const [namespace = "", event = ""] = name.split(" ");
    yield [[namespace, event], count] as const;
  }
}
