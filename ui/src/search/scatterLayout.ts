/** Where the marks and ticks of the scatter plot go. Pure maths. */
import type { TraceSummary } from "../api/types";
import { formatDuration } from "../lib/duration";
import { nanoToMs } from "../lib/time";
import { tickStep } from "../trace/timeline";

export interface Mark {
  trace: TraceSummary;
  x: number;
  y: number;
  r: number;
  failed: boolean;
}

export interface ScatterLayout {
  marks: Mark[];
  xTicks: { x: number; label: string }[];
  yTicks: { y: number; label: string }[];
  left: number;
  right: number;
  width: number;
  fromMs: number;
  toMs: number;
}

const LEFT = 62;
const RIGHT = 14;
const TOP = 12;
const BOTTOM = 26;
/** Beyond this spread of durations a linear axis hides most of the traces. */
const LOG_SPREAD = 15;

export function layoutScatter(traces: readonly TraceSummary[], width: number, height: number): ScatterLayout {
  const times = traces.map((trace) => nanoToMs(trace.startUnixNano));
  const low = Math.min(...times);
  const high = Math.max(...times);
  const pad = Math.max(1, (high - low) * 0.02);
  const fromMs = low - pad;
  const toMs = high + pad;
  const durations = traces.map((trace) => Math.max(1, trace.durationNano));
  const shortest = Math.min(...durations);
  const longest = Math.max(...durations);
  const log = longest / shortest > LOG_SPREAD;
  const floor = log ? Math.log10(shortest) : 0;
  const ceiling = log ? Math.log10(longest) : longest;
  const reach = ceiling - floor || 1;

  const x = (ms: number) => LEFT + ((ms - fromMs) / (toMs - fromMs)) * Math.max(1, width - LEFT - RIGHT);
  const y = (nano: number) =>
    height -
    BOTTOM -
    (((log ? Math.log10(Math.max(1, nano)) : nano) - floor) / reach) * (height - TOP - BOTTOM);
  return {
    marks: traces.map((trace, index) => ({
      trace,
      x: x(times[index] as number),
      y: y(durations[index] as number),
      r: Math.min(9, 3 + Math.log10(Math.max(1, trace.spanCount)) * 1.6),
      failed: trace.errorCount > 0,
    })),
    xTicks: timeTicks(fromMs, toMs, Math.max(2, Math.floor(width / 150))).map((ms) => ({
      x: x(ms),
      label: tickLabel(ms, toMs - fromMs),
    })),
    yTicks: (log ? logTicks(shortest, longest) : linearTicks(longest)).map((nano) => ({
      y: y(nano),
      label: nano === 0 ? "0" : formatDuration(nano),
    })),
    left: LEFT,
    right: RIGHT,
    width,
    fromMs,
    toMs,
  };
}

/** The time under a horizontal position, kept inside the plot. */
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
  // Steps of hours and days fall on local midnight, not on UTC's.
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
