import { expect, test } from "vitest";
import { LatencyHistogram } from "./latency-histogram.js";

function histogramOf(valuesUs: Iterable<number>): LatencyHistogram {
  const histogram = new LatencyHistogram();
  for (const value of valuesUs) histogram.add(value);
  return histogram;
}

function* upTo(count: number): Generator<number> {
  for (let value = 1; value <= count; value += 1) yield value;
}

test("percentiles below two milliseconds are exact", () => {
  const histogram = histogramOf(upTo(1000));
  expect([0.001, 0.5, 0.95, 0.999, 1].map((share) => histogram.percentileUs(share))).toEqual([
    1, 500, 950, 999, 1000,
  ]);
});

test("percentiles of larger latencies are at most a thousandth too large, never too small", () => {
  const histogram = histogramOf(upTo(1_000_000));
  for (const share of [0.01, 0.5, 0.95, 0.99, 0.999, 1]) {
    const exact = share * 1_000_000;
    expect(histogram.percentileUs(share)).toBeGreaterThanOrEqual(exact);
    expect(histogram.percentileUs(share)).toBeLessThanOrEqual(exact * 1.001);
  }
});

test.each([0, 1, 2047, 2048, 2049, 4095, 4096, 65_537, 8_388_608, 134_217_727])(
  "a single latency of %d µs is every percentile, exactly",
  (value) => {
    const histogram = histogramOf([value]);
    expect([histogram.percentileUs(0.01), histogram.percentileUs(1)]).toEqual([value, value]);
  },
);

test("what is out of range counts as the nearest in it", () => {
  const histogram = histogramOf([-5, 1e12]);
  expect([histogram.percentileUs(0.5), histogram.percentileUs(1)]).toEqual([0, 2 ** 27 - 1]);
  expect(histogram.count).toBe(2);
});

test("nothing has percentiles of zero", () => {
  expect(new LatencyHistogram().latencyMs).toEqual({ p50: 0, p95: 0, p99: 0, p999: 0, max: 0 });
});

test("histograms of several processes add up to the one of all", () => {
  const all = histogramOf(upTo(10_000));
  const sum = new LatencyHistogram();
  for (const remainder of [0, 1, 2]) {
    const part = histogramOf([...upTo(10_000)].filter((value) => value % 3 === remainder));
    sum.addParts(part.toParts());
  }
  expect(sum.count).toBe(all.count);
  expect(sum.latencyMs).toEqual(all.latencyMs);
});

test("after it is cleared nothing of before is left", () => {
  const histogram = histogramOf(upTo(5000));
  histogram.clear();
  histogram.add(7);
  expect(histogram.count).toBe(1);
  expect(histogram.latencyMs).toEqual({ p50: 0.007, p95: 0.007, p99: 0.007, p999: 0.007, max: 0.007 });
});
