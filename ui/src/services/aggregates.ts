/** Requests to `/api/v1/aggregates` for the services pages, and the conversion of points into rows and charts. */
import { apiUrl } from "../api/client";
import type { AggregatePoint, AggregateSeries, UnixNano } from "../api/types";
import { msToNano, nanoToMs, resolveRange, type TimeRange } from "../lib/time";

/** Round steps in seconds; a chart gets the smallest that keeps it under `MOST_POINTS`. */
const STEPS = [10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
const MOST_POINTS = 90;

export interface Totals {
  requestCount: number;
  errorCount: number;
  errorRate: number;
  p50Nano: number;
  p95Nano: number;
  p99Nano: number;
  /** Percentiles that are merged from several points are only approximate. */
  approximate: boolean;
}

/** A service whose requests start later than this after the server's now has a clock that is ahead. */
const AHEAD_MS = 60_000;

/** Longer than any range. Points begin at multiples of the step, so the whole range is one exact point. */
export const WHOLE_RANGE = "100y";

export function aggregatesUrl(
  range: TimeRange,
  groupBy: string,
  step: number | typeof WHOLE_RANGE,
  filter: { service?: string; operation?: string; fold?: "mesh" } = {},
): string {
  return apiUrl(["aggregates"], {
    ...filter,
    groupBy,
    start: range.start,
    // Without an end the range has no upper bound, and a clock that is ahead would add points for years.
    end: range.end ?? "now",
    step: typeof step === "number" ? `${step}s` : step,
  });
}

/** The URL for the requests that start after now, by day. Null for a range that ends before now. */
export function aheadUrl(range: TimeRange, nowMs: number, filter: { service?: string } = {}): string | null {
  if (range.end) return null;
  // Whole minutes, so that pages within a minute have the same URL and share the response.
  const start = msToNano(Math.ceil(nowMs / AHEAD_MS) * AHEAD_MS + AHEAD_MS);
  return apiUrl(["aggregates"], { ...filter, groupBy: "service", start, step: "1d" });
}

export interface Ahead {
  service: string;
  requestCount: number;
  /** No request in the entry starts before this time. */
  afterMs: number;
}

/** The requests that start after now, one entry per service, the latest first. */
export function aheadOf(series: readonly AggregateSeries[], nowMs: number): Ahead[] {
  const found = series.flatMap(({ labels, points }) => {
    const first = points.find((point) => point.requestCount > 0);
    if (!first) return [];
    const afterMs = Math.max(nowMs, nanoToMs(first.timeUnixNano));
    return [
      { service: labels.service ?? "", requestCount: sum(points, (point) => point.requestCount), afterMs },
    ];
  });
  return found.sort((a, b) => b.afterMs - a.afterMs);
}

export function chartStep(range: TimeRange, nowMs: number): number {
  const { startMs, endMs } = resolveRange(range, nowMs);
  const least = (endMs - startMs) / 1000 / MOST_POINTS;
  return STEPS.find((step) => step >= least) ?? Math.ceil(least / 86400) * 86400;
}

/**
 * The seconds of a range over which rates are computed. A store that is younger than the range covers only a part of
 * it. At least one second.
 */
export function coveredSeconds(range: TimeRange, oldest: UnixNano | null | undefined, nowMs: number): number {
  const { startMs, endMs } = resolveRange(range, nowMs);
  const from = oldest ? Math.max(startMs, nanoToMs(oldest)) : startMs;
  return Math.max(1, (endMs - from) / 1000);
}

/** One series over the whole range. */
export function totals(points: readonly AggregatePoint[]): Totals {
  const requestCount = sum(points, (point) => point.requestCount);
  const errorCount = sum(points, (point) => point.errorCount);
  const filled = points.filter((point) => point.requestCount > 0);
  const weighted = (pick: (point: AggregatePoint) => number) =>
    requestCount === 0 ? 0 : sum(filled, (point) => pick(point) * point.requestCount) / requestCount;
  return {
    requestCount,
    errorCount,
    errorRate: requestCount === 0 ? 0 : errorCount / requestCount,
    p50Nano: weighted((point) => point.p50Nano),
    p95Nano: weighted((point) => point.p95Nano),
    p99Nano: weighted((point) => point.p99Nano),
    approximate: filled.length > 1,
  };
}

export interface ChartData {
  /** Unix seconds, evenly spaced over the range, so that times without requests are visible. */
  times: number[];
  rate: number[];
  errorRate: (number | null)[];
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
}

/**
 * Points on the grid of the range. Without requests the rate is 0, and errors and latencies have a gap. The grid is
 * that of the range, even if points are elsewhere.
 */
export function chartData(
  series: readonly AggregateSeries[],
  stepSeconds: number,
  range: TimeRange,
  nowMs: number,
): ChartData {
  const { startMs, endMs } = resolveRange(range, nowMs);
  const points = new Map<number, AggregatePoint>();
  for (const point of series[0]?.points ?? [])
    points.set(Math.round(nanoToMs(point.timeUnixNano) / 1000), point);
  const data: ChartData = { times: [], rate: [], errorRate: [], p50: [], p95: [], p99: [] };
  // The grid of the server's points; without any point the start of the range is used.
  const anchor = points.keys().next().value ?? Math.floor(startMs / 1000);
  const first = anchor + Math.floor((startMs / 1000 - anchor) / stepSeconds) * stepSeconds;
  const count = Math.min(MOST_POINTS * 2, Math.ceil((endMs / 1000 - first) / stepSeconds));
  for (let index = 0; index < count; index++) {
    const at = first + index * stepSeconds;
    const point = points.get(at);
    const filled = point && point.requestCount > 0 ? point : null;
    data.times.push(at);
    data.rate.push((point?.requestCount ?? 0) / stepSeconds);
    data.errorRate.push(filled ? filled.errorRate : null);
    data.p50.push(filled ? filled.p50Nano : null);
    data.p95.push(filled ? filled.p95Nano : null);
    data.p99.push(filled ? filled.p99Nano : null);
  }
  return data;
}

function sum(points: readonly AggregatePoint[], pick: (point: AggregatePoint) => number): number {
  return points.reduce((total, point) => total + pick(point), 0);
}
