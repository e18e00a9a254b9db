/** What the services pages ask `/api/v1/aggregates`, and how its points become rows and charts. */
import { apiUrl } from "../api/client";
import type { AggregatePoint, AggregateSeries, UnixNano } from "../api/types";
import { nanoToMs, resolveRange, type TimeRange } from "../lib/time";

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
    end: range.end,
    step: typeof step === "number" ? `${step}s` : step,
  });
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

/** Points laid on the range's grid: no requests is a rate of 0 and a gap in what requests have. */
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
  const known = [...points.keys()].sort((a, b) => a - b);
  // The server's grid decides; without a point any grid will do.
  const anchor = known[0] ?? Math.floor(startMs / 1000);
  const first = anchor - Math.max(0, Math.floor((anchor - startMs / 1000) / stepSeconds)) * stepSeconds;
  const until = Math.max(endMs / 1000, (known.at(-1) ?? 0) + 1);
  for (let at = first; at < until; at += stepSeconds) {
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
