/** Positions of the marks, bars and ticks of the scatter plot. No DOM. */
import type { AggregatePoint, TraceSummary } from "../api/types";
import { formatDuration } from "../lib/duration";
import { ceilingOf } from "../lib/outliers";
import { nanoToMs } from "../lib/time";
import { tickStep } from "../trace/timeline";

export interface Mark {
  trace: TraceSummary;
  x: number;
  y: number;
  r: number;
  failed: boolean;
  /** If the trace starts outside the time axis: the edge at which its mark is. */
  outside: "before" | "after" | null;
}

/** The requests of one step, drawn behind the marks. */
export interface Bar {
  x: number;
  width: number;
  /** Heights in pixels from the bottom. The failed requests are a part of all. */
  height: number;
  failedHeight: number;
}

export interface ScatterLayout {
  marks: Mark[];
  bars: Bar[];
  xTicks: { x: number; label: string }[];
  yTicks: { y: number; label: string }[];
  left: number;
  right: number;
  bottom: number;
  width: number;
  fromMs: number;
  toMs: number;
}

export interface Counts {
  stepMs: number;
  points: readonly AggregatePoint[];
}

export interface Plot {
  width: number;
  height: number;
  /** The range of the search, which is the time axis. */
  fromMs: number;
  toMs: number;
}

const LEFT = 62;
const RIGHT = 14;
const TOP = 12;
const BOTTOM = 26;
/** With a larger spread of durations a linear axis would hide most of the traces. */
const LOG_SPREAD = 15;
/** The share of the plot's height for the highest bar. */
const BAR_SHARE = 0.5;

export function layoutScatter(
  traces: readonly TraceSummary[],
  counts: Counts | null,
  { width, height, fromMs, toMs }: Plot,
): ScatterLayout {
  const durations = traces.map((trace) => Math.max(1, trace.durationNano));
  const shortest = durations.reduce((low, duration) => Math.min(low, duration), Number.POSITIVE_INFINITY);
  const longest = ceilingOf(durations);
  const log = longest / shortest > LOG_SPREAD;
  const floor = log ? Math.log10(shortest) : 0;
  const reach = (log ? Math.log10(longest) : longest) - floor || 1;
  const plotWidth = Math.max(1, width - LEFT - RIGHT);

  const x = (ms: number) => LEFT + clamp01((ms - fromMs) / (toMs - fromMs)) * plotWidth;
  const y = (nano: number) =>
    height - BOTTOM - clamp01(((log ? Math.log10(nano) : nano) - floor) / reach) * (height - TOP - BOTTOM);
  return {
    marks: traces.map((trace, index) => {
      const startMs = nanoToMs(trace.startUnixNano);
      return {
        trace,
        x: x(startMs),
        y: y(durations[index] as number),
        r: Math.min(9, 3 + Math.log10(Math.max(1, trace.spanCount)) * 1.6),
        failed: trace.errorCount > 0,
        outside: startMs < fromMs ? "before" : startMs > toMs ? "after" : null,
      };
    }),
    bars: counts ? layoutBars(counts, x, fromMs, toMs, (height - TOP - BOTTOM) * BAR_SHARE) : [],
    xTicks: timeTicks(fromMs, toMs, Math.max(2, Math.floor(width / 150))).map((ms) => ({
      x: x(ms),
      label: tickLabel(ms, toMs - fromMs),
    })),
    yTicks: (traces.length === 0 ? [] : log ? logTicks(shortest, longest) : linearTicks(longest)).map(
      (nano) => ({
        y: y(nano),
        label: nano === 0 ? "0" : formatDuration(nano),
      }),
    ),
    left: LEFT,
    right: RIGHT,
    bottom: height - BOTTOM,
    width,
    fromMs,
    toMs,
  };
}

function layoutBars(
  { stepMs, points }: Counts,
  x: (ms: number) => number,
  fromMs: number,
  toMs: number,
  highest: number,
): Bar[] {
  const inside = points.filter(({ timeUnixNano }) => {
    const at = nanoToMs(timeUnixNano);
    return at + stepMs > fromMs && at < toMs;
  });
  const most = inside.reduce((high, point) => Math.max(high, point.requestCount), 1);
  return inside.map(({ timeUnixNano, requestCount, errorCount }) => {
    const from = nanoToMs(timeUnixNano);
    return {
      x: x(from),
      width: Math.max(1, x(from + stepMs) - x(from) - 1),
      height: (requestCount / most) * highest,
      failedHeight: (errorCount / most) * highest,
    };
  });
}

function clamp01(value: number): number {
  return Math.min(1, Math.max(0, value));
}

/** The time at a horizontal position, kept inside the plot. */
export function timeAt(layout: ScatterLayout, x: number): number {
  const share = (x - layout.left) / Math.max(1, layout.width - layout.left - layout.right);
  return layout.fromMs + Math.min(1, Math.max(0, share)) * (layout.toMs - layout.fromMs);
}

function linearTicks(longest: number): number[] {
  const step = tickStep(longest / 3);
  const result: number[] = [];
  for (let at = 0; at <= longest; at += step) result.push(at);
  return result;
}

function logTicks(shortest: number, longest: number): number[] {
  const first = Math.ceil(Math.log10(shortest));
  const last = Math.floor(Math.log10(longest));
  const every = Math.max(1, Math.ceil((last - first + 1) / 4));
  const result: number[] = [];
  for (let power = first; power <= last; power += every) result.push(10 ** power);
  return result;
}

function timeTicks(fromMs: number, toMs: number, most: number): number[] {
  const step = tickStep(((toMs - fromMs) / most) * 1e6) / 1e6;
  // Steps of hours and days begin at local midnight, not at UTC's.
  const zone = new Date(fromMs).getTimezoneOffset() * 60_000;
  const result: number[] = [];
  for (let at = Math.ceil((fromMs - zone) / step) * step + zone; at <= toMs; at += step) result.push(at);
  return result;
}

function tickLabel(ms: number, reachMs: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = `${two(date.getHours())}:${two(date.getMinutes())}`;
  if (reachMs > 2 * 86400e3) return `${two(date.getMonth() + 1)}-${two(date.getDate())} ${clock}`;
  if (reachMs > 20 * 60e3) return clock;
  const seconds = `${clock}:${two(date.getSeconds())}`;
  return reachMs > 10e3 ? seconds : `${seconds}.${String(date.getMilliseconds()).padStart(3, "0")}`;
}
