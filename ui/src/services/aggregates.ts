/** What the services pages ask `/api/v1/aggregates`, and how its points become rows and charts. */
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
  /** Percentiles joined from several points are no percentiles of the whole, only close to it. */
  approximate: boolean;
}

/** What starts later than this after the server's now has a clock that goes ahead. */
const AHEAD_MS = 60_000;

/** Longer than any range, and points begin at multiples of the step: one exact point for all of it. */
export const WHOLE_RANGE = "100y";

export function aggregatesUrl(
  range: TimeRange,
  groupBy: string,
  step: number | typeof WHOLE_RANGE,
  filter: { service?: string; operation?: string } = {},
): string {
  return apiUrl(["aggregates"], {
    ...filter,
    groupBy,
    start: range.start,
    // Without an end there is no upper bound, and a clock that goes ahead would add points for years.
    end: range.end ?? "now",
    step: typeof step === "number" ? `${step}s` : step,
  });
}

/** Asks for the requests that start after now, by day. Null for a range that ends before now. */
export function aheadUrl(range: TimeRange, nowMs: number, filter: { service?: string } = {}): string | null {
  if (range.end) return null;
  // In whole minutes, so that pages that follow each other ask the same and share the answer.
  const start = msToNano(Math.ceil(nowMs / AHEAD_MS) * AHEAD_MS + AHEAD_MS);
  return apiUrl(["aggregates"], { ...filter, groupBy: "service", start, step: "1d" });
}

export interface Ahead {
  service: string;
  requestCount: number;
  /** None of them starts before. */
  afterMs: number;
}

/** The requests that start after now, one entry a service, the farthest first. */
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
 * The seconds of a range that rates count over: a store that is younger than the range has not been
 * asked for all of it. Never less than a second.
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
  /** Unix seconds, evenly spaced over the range, so that silence shows as silence. */
  times: number[];
  rate: number[];
  errorRate: (number | null)[];
  p50: (number | null)[];
  p95: (number | null)[];
  p99: (number | null)[];
}

/**
 * Points laid on the range's grid: no requests is a rate of 0 and a gap in what requests have. The grid is
 * that of the range, wherever the points lie.
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
  // The server's grid decides; without a point any grid will do.
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
