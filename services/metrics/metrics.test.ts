/** Numbers as Prometheus reads them: the text that is published, not the library behind it. */
import { describe, expect, test } from "vitest";
import { IntegerHistogram } from "./integer-histogram.js";
import { byLabel, Metrics } from "./metrics.js";

async function linesOf(metrics: Metrics): Promise<string[]> {
  return (await metrics.text()).split("\n").filter((line) => line !== "" && !line.startsWith("#"));
}

describe("published numbers", () => {
  test("are read at each scrape, not before", async () => {
    const metrics = new Metrics({ processMetrics: false });
    const counters = { locationUpdates: 0 };
    metrics.publishCounter({
      name: "realtime_location_updates_total",
      help: "Locations taken.",
      read: () => counters.locationUpdates,
    });
    expect(await linesOf(metrics)).toEqual(["realtime_location_updates_total 0"]);
    counters.locationUpdates = 7;
    expect(await linesOf(metrics)).toEqual(["realtime_location_updates_total 7"]);
    expect(await linesOf(metrics)).toEqual(["realtime_location_updates_total 7"]);
    expect(await metrics.text()).toContain("# TYPE realtime_location_updates_total counter");
  });

  test("carry fixed labels", async () => {
    const metrics = new Metrics({ processMetrics: false });
    metrics.publishGauge({
      name: "realtime_active_connections",
      help: "Sockets now.",
      labels: { namespace: "native" },
      read: () => 12,
    });
    expect(await linesOf(metrics)).toEqual(['realtime_active_connections{namespace="native"} 12']);
  });

  test("of a map become a series for each label, and one that is gone is gone", async () => {
    const metrics = new Metrics({ processMetrics: false });
    const received = new Map([
      ["subscribe", 2],
      ["ping", 3],
    ]);
    metrics.publishLabelledCounter({
      name: "realtime_messages_received_total",
      help: "Frames.",
      labelNames: ["namespace", "event"],
      read: () => byLabel(received, ["native"]),
    });
    const depths = new Map([["replay", 1]]);
    metrics.publishLabelledGauge({
      name: "realtime_queue_depth",
      help: "Queues.",
      labelNames: ["queue"],
      read: () => byLabel(depths),
    });
    await metrics.text();
    received.set("ping", 4);
    depths.delete("replay");
    expect(await linesOf(metrics)).toEqual([
      'realtime_messages_received_total{namespace="native",event="subscribe"} 2',
      'realtime_messages_received_total{namespace="native",event="ping"} 4',
    ]);
  });

  test("do not grow without a bound, whatever becomes a label", async () => {
    const metrics = new Metrics({ processMetrics: false });
    const counts = Array.from({ length: 5000 }, (_, index) => [`label-${index}`, 1] as const);
    metrics.publishLabelledCounter({
      name: "many_total",
      help: "Many.",
      labelNames: ["label"],
      read: () => byLabel(counts),
    });
    expect(await linesOf(metrics)).toHaveLength(500);
  });

  test("of the process are there unless told otherwise", async () => {
    expect(await new Metrics().text()).toContain("process_resident_memory_bytes");
    expect(await new Metrics({ processMetrics: false }).text()).not.toContain("process_");
  });
});

describe("a histogram of integers", () => {
  test("is published with cumulated buckets in the metric's unit", async () => {
    const metrics = new Metrics({ processMetrics: false });
    const histogram = new IntegerHistogram([100, 1000, 10_000]);
    metrics.publishHistogram({
      name: "realtime_fanout_latency_seconds",
      help: "Latency.",
      histogram,
      unit: 1e-6,
      labels: { namespace: "native" },
    });
    for (const latencyUs of [50, 100, 101, 5000, 20_000]) histogram.observe(latencyUs);
    expect(await linesOf(metrics)).toEqual([
      'realtime_fanout_latency_seconds_bucket{namespace="native",le="0.0001"} 2',
      'realtime_fanout_latency_seconds_bucket{namespace="native",le="0.001"} 3',
      'realtime_fanout_latency_seconds_bucket{namespace="native",le="0.01"} 4',
      'realtime_fanout_latency_seconds_bucket{namespace="native",le="+Inf"} 5',
      'realtime_fanout_latency_seconds_sum{namespace="native"} 0.025251',
      'realtime_fanout_latency_seconds_count{namespace="native"} 5',
    ]);
    expect(await metrics.text()).toContain("# TYPE realtime_fanout_latency_seconds histogram");
  });

  test("puts every value into the first bucket that holds it", () => {
    const bounds = [100, 250, 500, 1000, 2500, 5000, 10_000];
    const histogram = new IntegerHistogram(bounds);
    const values = bounds.flatMap((bound) => [bound - 1, bound, bound + 1]);
    for (const value of values) histogram.observe(value);
    const expected = [...bounds, Number.POSITIVE_INFINITY].map(
      (bound, index, all) =>
        values.filter((value) => value <= bound && value > (all[index - 1] ?? Number.NEGATIVE_INFINITY))
          .length,
    );
    expect(histogram.counts).toEqual(expected);
    expect(histogram.count).toBe(values.length);
  });

  test("is not poisoned by what is no number", () => {
    const histogram = new IntegerHistogram([1]);
    histogram.observe(Number.NaN);
    histogram.observe(Number.POSITIVE_INFINITY);
    expect([histogram.count, histogram.sum]).toEqual([0, 0]);
  });

  test.each([[[]], [[2, 1]], [[1, 1]], [[Number.NaN]]])("is not made with bounds %j", (bounds) => {
    expect(() => new IntegerHistogram(bounds)).toThrow("ascending");
  });
});
