import { describe, expect, it } from "vitest";
import type { AggregatePoint } from "../api/types";
import {
  aggregatesUrl,
  aheadOf,
  aheadUrl,
  chartData,
  chartStep,
  coveredSeconds,
  totals,
  WHOLE_RANGE,
} from "./aggregates";

function point(seconds: number, requestCount: number, errorCount = 0, nano = 100): AggregatePoint {
  return {
    timeUnixNano: `${seconds}000000000`,
    requestCount,
    errorCount,
    errorRate: requestCount === 0 ? 0 : errorCount / requestCount,
    successRate: 1,
    p50Nano: nano,
    p75Nano: nano,
    p90Nano: nano,
    p95Nano: nano,
    p99Nano: nano,
    maxNano: nano,
    exemplarTraceIds: [],
  };
}

describe("aggregatesUrl", () => {
  it("asks for what it is told and nothing empty", () => {
    expect(aggregatesUrl({ start: "now-1h" }, "service", WHOLE_RANGE)).toBe(
      "api/v1/aggregates?groupBy=service&start=now-1h&end=now&step=100y",
    );
    expect(aggregatesUrl({ start: "a", end: "b" }, "operation", 60, { service: "x y" })).toBe(
      "api/v1/aggregates?service=x+y&groupBy=operation&start=a&end=b&step=60s",
    );
  });
});

describe("what is ahead", () => {
  const now = 1_700_000_000_000;

  it("is asked for by day, from the next minute on, unless the range ends", () => {
    expect(aheadUrl({ start: "now-1h" }, now, { service: "a" })).toBe(
      "api/v1/aggregates?service=a&groupBy=service&start=1700000100000000000&step=1d",
    );
    expect(aheadUrl({ start: "now-3h", end: "now-1h" }, now)).toBeNull();
  });

  it("is told with the time that all of it comes after", () => {
    const series = [
      { labels: { service: "soon" }, points: [point(1_699_920_000, 2)] },
      {
        labels: { service: "late" },
        points: [point(1_731_456_000, 0), point(1_731_542_400, 1), point(9e9, 3)],
      },
      { labels: { service: "never" }, points: [] },
    ];
    expect(aheadOf(series, now)).toEqual([
      { service: "late", requestCount: 4, afterMs: 1_731_542_400_000 },
      { service: "soon", requestCount: 2, afterMs: now },
    ]);
  });
});

describe("chartStep", () => {
  it.each([
    ["now-5m", 10],
    ["now-15m", 10],
    ["now-1h", 60],
    ["now-6h", 300],
    ["now-24h", 1800],
    ["now-168h", 7200],
  ])("%s is charted by %d seconds", (start, step) => {
    expect(chartStep({ start }, 1_700_000_000_000)).toBe(step);
  });

  it.each([[91], [3650], [36500]])("a range of %d days has at most 90 points", (days) => {
    const step = chartStep({ start: `now-${days * 24}h` }, 1_700_000_000_000 * 2);
    expect((days * 86400) / step).toBeLessThanOrEqual(90);
  });
});

describe("coveredSeconds", () => {
  const now = 1_700_000_000_000;

  it("is the range, or the part of it since the first span", () => {
    expect(coveredSeconds({ start: "now-1h" }, null, now)).toBe(3600);
    expect(coveredSeconds({ start: "now-1h" }, "1600000000000000000", now)).toBe(3600);
    expect(coveredSeconds({ start: "now-1h" }, "1699999940000000000", now)).toBe(60);
  });

  it("never divides by nothing", () => {
    expect(coveredSeconds({ start: "now-1h" }, "1800000000000000000", now)).toBe(1);
  });
});

describe("totals", () => {
  it("of one point are exact", () => {
    expect(totals([point(0, 10, 1, 500)])).toEqual({
      requestCount: 10,
      errorCount: 1,
      errorRate: 0.1,
      p50Nano: 500,
      p95Nano: 500,
      p99Nano: 500,
      approximate: false,
    });
  });

  it("of several points weigh by requests and say so", () => {
    const sum = totals([point(0, 30, 3, 100), point(60, 10, 1, 500), point(120, 0)]);
    expect(sum).toMatchObject({
      requestCount: 40,
      errorCount: 4,
      errorRate: 0.1,
      p50Nano: 200,
      approximate: true,
    });
  });

  it("of nothing are nothing", () => {
    expect(totals([])).toMatchObject({ requestCount: 0, errorRate: 0, approximate: false });
  });
});

describe("chartData", () => {
  const range = { start: "600", end: "900" };

  it("fills silence with a rate of zero and gaps elsewhere", () => {
    const data = chartData([{ labels: {}, points: [point(660, 6, 3), point(780, 12)] }], 60, range, 0);
    expect(data.times).toEqual([600, 660, 720, 780, 840]);
    expect(data.rate).toEqual([0, 0.1, 0, 0.2, 0]);
    expect(data.errorRate).toEqual([null, 0.5, null, 0, null]);
    expect(data.p95).toEqual([null, 100, null, 100, null]);
  });

  it("follows the server's grid, also when it begins before the range", () => {
    const data = chartData(
      [{ labels: {}, points: [point(570, 6), point(690, 6)] }],
      120,
      { start: "600", end: "900" },
      0,
    );
    expect(data.times).toEqual([570, 690, 810]);
  });

  it.each([
    ["one year ahead", 600 + 365 * 86_400],
    ["in 2262", 9_217_000_020],
    ["in 1970", 0],
  ])("keeps its grid beside a point %s", (_, seconds) => {
    const series = [{ labels: {}, points: [point(660, 6), point(seconds, 1)] }];
    const data = chartData(series, 60, range, 0);
    expect(data.times).toEqual([600, 660, 720, 780, 840]);
    expect(data.rate).toEqual([0, 0.1, 0, 0, 0]);
    expect(chartData(series, 1, { start: "600", end: "9300000000" }, 0).times.length).toBeLessThan(200);
  });

  it("of nothing is a flat line", () => {
    expect(chartData([], 60, range, 0).rate).toEqual([0, 0, 0, 0, 0]);
  });
});
