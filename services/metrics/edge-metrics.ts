/** The edge's metrics: what its counters say, under the names that dashboards use. */
import type { Edge } from "#edge/edge.js";
import { IntegerHistogram } from "./integer-histogram.js";
import { byLabel, type Metrics } from "./metrics.js";

/** From half a millisecond to ten seconds, in microseconds. */
const LATENCY_BOUNDS_US = [
  500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 10_000_000,
];

/** From a second to a day, in milliseconds. */
const DURATION_BOUNDS_MS = [1000, 10_000, 60_000, 300_000, 900_000, 3_600_000, 14_400_000, 86_400_000];

/** From a tenth of a second to ten, in milliseconds. */
const WAIT_BOUNDS_MS = [100, 250, 500, 1000, 2500, 5000, 10_000];

const NATIVE = { namespace: "native" };

export function publishEdgeMetrics(metrics: Metrics, edge: Edge): void {
  const { counters } = edge;
  const latency = new IntegerHistogram(LATENCY_BOUNDS_US);
  counters.deliveryLatencyUs = latency;
  const duration = new IntegerHistogram(DURATION_BOUNDS_MS);
  counters.connectionDurationMs = duration;
  const wait = new IntegerHistogram(WAIT_BOUNDS_MS);
  counters.handshakeWaitMs = wait;
  const counter = (name: string, help: string, read: () => number): void =>
    metrics.publishCounter({ name: `realtime_${name}`, help, read });
  const gauge = (name: string, help: string, read: () => number): void =>
    metrics.publishGauge({ name: `realtime_${name}`, help, read });
  const byReason = (name: string, help: string, read: () => Iterable<readonly [string, number]>): void =>
    metrics.publishLabelledCounter({
      name: `realtime_${name}`,
      help,
      labelNames: ["reason"],
      read: () => byLabel(read()),
    });

  metrics.publishGauge({
    name: "realtime_active_connections",
    help: "Sockets at this edge",
    labels: NATIVE,
    read: () => edge.health.connections,
  });
  metrics.publishHistogram({
    name: "realtime_fanout_latency_seconds",
    help: "From the edge that read a location to the edge that wrote it to its followers",
    histogram: latency,
    unit: 1e-6,
  });
  counter("connections_opened_total", "Sockets opened", () => counters.connectionsOpened);
  metrics.publishHistogram({
    name: "realtime_connection_duration_seconds",
    help: "How long sockets that are closed had been open",
    histogram: duration,
    unit: 1e-3,
  });
  byReason("connections_closed_total", "Sockets closed", () => counters.connectionsClosed);
  byReason("handshakes_refused_total", "Handshakes refused", () => counters.handshakesRefused);
  gauge("handshakes_waiting", "Handshakes that wait for their turn", () => edge.waitingHandshakes);
  metrics.publishHistogram({
    name: "realtime_handshake_wait_seconds",
    help: "How long handshakes that had to wait for their turn had waited",
    histogram: wait,
    unit: 1e-3,
  });
  byReason("authentication_errors_total", "Tokens refused", () => counters.authenticationErrors);
  counter(
    "edge_token_warnings_total",
    "Sockets told that their token ends soon",
    () => counters.tokenWarnings,
  );
  counter("edge_frames_received_total", "Frames read from sockets", () => counters.framesReceived);
  counter("edge_bytes_received_total", "Bytes of frames read from sockets", () => counters.bytesReceived);
  counter("edge_frames_written_total", "Frames written to sockets", () => counters.framesWritten);
  counter("edge_bytes_written_total", "Bytes of frames written to sockets", () => counters.bytesWritten);
  counter(
    "edge_socket_writes_total",
    "Writes to sockets; several frames may share one",
    () => counters.socketWrites,
  );
  counter(
    "edge_frames_conflated_total",
    "Latest values replaced by newer ones for slow sockets",
    () => counters.framesConflated,
  );
  counter(
    "edge_frames_dropped_total",
    "Ephemeral frames dropped for slow sockets",
    () => counters.framesDropped,
  );
  counter(
    "edge_stale_deliveries_total",
    "Deliveries of an old home, ignored",
    () => counters.staleDeliveries,
  );
  counter(
    "edge_sockets_paused_total",
    "Sockets not read for a while because a link was full",
    () => counters.socketsPaused,
  );
  counter("edge_links_opened_total", "Links to fanouts opened", () => counters.linksOpened);
  byReason("edge_links_lost_total", "Links to fanouts lost", () => counters.linksLost);
  counter("edge_sessions_moved_total", "Sessions taken to another home", () => counters.sessionsMoved);
  counter(
    "edge_poison_frames_total",
    "Frames that fanouts died of, answered here",
    () => counters.poisonFrames,
  );
  counter(
    "edge_self_suspicions_total",
    "Times when most fanouts looked dead at once",
    () => counters.selfSuspicions,
  );
  gauge("edge_ready_links", "Fanouts that take sessions", () => edge.health.readyLinks);
  gauge("edge_homeless_sessions", "Sessions that wait for a home", () => edge.homelessSessions);
  gauge("edge_queued_bytes", "Bytes queued for slow sockets", () => edge.queuedBytes);
  gauge("edge_link_queued_bytes", "Bytes queued for fanouts", () => edge.linkQueuedBytes);
}
