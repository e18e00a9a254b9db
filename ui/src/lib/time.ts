/** Points in time and time ranges, between the API's decimal nanoseconds and texts for people. */
import type { UnixNano } from "../api/types";

/** A range in the notation of the API: `now-1h`, RFC 3339 or Unix nanoseconds. No `end` means up to now. */
export interface TimeRange {
  start: string;
  end?: string;
}

export const DEFAULT_RANGE: TimeRange = { start: "now-1h" };

export const PRESETS: readonly { start: string; label: string }[] = [
  { start: "now-5m", label: "Last 5 minutes" },
  { start: "now-15m", label: "Last 15 minutes" },
  { start: "now-1h", label: "Last hour" },
  { start: "now-3h", label: "Last 3 hours" },
  { start: "now-6h", label: "Last 6 hours" },
  { start: "now-12h", label: "Last 12 hours" },
  { start: "now-24h", label: "Last 24 hours" },
  { start: "now-48h", label: "Last 2 days" },
  { start: "now-168h", label: "Last 7 days" },
];

const RELATIVE_UNITS: Record<string, number> = { s: 1e3, m: 60e3, h: 3600e3, d: 86400e3 };

/** Milliseconds since 1970 of an API time; null for notations that this app does not use. */
export function parseTime(text: string, nowMs: number): number | null {
  const trimmed = text.trim();
  if (trimmed === "now") return nowMs;
  const relative = /^now-(\d+)([smhd])$/.exec(trimmed);
  if (relative) return nowMs - Number(relative[1]) * (RELATIVE_UNITS[relative[2] as string] as number);
  if (/^\d{18,}$/.test(trimmed)) return nanoToMs(trimmed);
  if (/^\d{1,11}(\.\d+)?$/.test(trimmed)) return Number(trimmed) * 1000;
  const parsed = /^\d{4}-\d\d-\d\dT/.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  return Number.isNaN(parsed) ? null : parsed;
}

/** The range in milliseconds, with `now` resolved. */
export function resolveRange(range: TimeRange, nowMs: number): { startMs: number; endMs: number } {
  const endMs = (range.end ? parseTime(range.end, nowMs) : null) ?? nowMs;
  const startMs = parseTime(range.start, nowMs) ?? endMs - 3600e3;
  return { startMs, endMs: Math.max(endMs, startMs + 1) };
}

export function describeRange(range: TimeRange): string {
  const preset = range.end ? undefined : PRESETS.find((candidate) => candidate.start === range.start);
  if (preset) return preset.label;
  const show = (text: string) => {
    const ms = parseTime(text, Date.now());
    return ms === null || text.startsWith("now") ? text : formatMs(ms, false);
  };
  return `${show(range.start)} – ${range.end ? show(range.end) : "now"}`;
}

/** Unix nanoseconds as whole milliseconds; the rest is cut, not rounded. */
export function nanoToMs(nano: UnixNano): number {
  return Number(BigInt(nano) / 1_000_000n);
}

export function msToNano(ms: number): UnixNano {
  return (BigInt(Math.round(ms)) * 1_000_000n).toString();
}

/** The exact distance in nanoseconds, if it is shorter than 104 days: a double has no more digits. */
export function nanoBetween(from: UnixNano, to: UnixNano): number {
  return Number(BigInt(to) - BigInt(from));
}

/** `2025-03-04 05:06:07.123` in the browser's time zone. */
export function formatTime(nano: UnixNano): string {
  return formatMs(nanoToMs(nano), true);
}

/** The same with all nine digits of the second, for details. */
export function formatTimeExact(nano: UnixNano): string {
  const value = BigInt(nano);
  const fraction = (((value % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n).toString().padStart(9, "0");
  return `${formatMs(nanoToMs(nano), false)}.${fraction}`;
}

export function formatMs(ms: number, withMillis: boolean): string {
  const date = new Date(ms);
  if (Number.isNaN(date.getTime())) return "–";
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return withMillis ? `${day} ${time}.${String(date.getMilliseconds()).padStart(3, "0")}` : `${day} ${time}`;
}

/** The age in one unit: `12 s ago`, `3 h ago`. */
export function formatAge(nano: UnixNano, nowMs: number): string {
  const seconds = Math.round((nowMs - nanoToMs(nano)) / 1000);
  if (seconds < 0) return `in ${inOneUnit(-seconds)}`;
  if (seconds < 1) return "just now";
  return `${inOneUnit(seconds)} ago`;
}

function inOneUnit(seconds: number): string {
  const units: [number, string][] = [
    [86400, "d"],
    [3600, "h"],
    [60, "min"],
  ];
  const [size, unit] = units.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** A time without its year if that is the current one, else without its milliseconds. */
export function formatTimeShort(nano: UnixNano, nowMs: number): string {
  const text = formatTime(nano);
  const thisYear = text.slice(0, 4) === String(new Date(nowMs).getFullYear());
  return thisYear ? text.slice(5) : formatMs(nanoToMs(nano), false);
}

/** The value for `<input type="datetime-local">`, in the browser's time zone. */
export function toLocalInput(ms: number): string {
  return formatMs(ms, false).replace(" ", "T");
}

function two(value: number): string {
  return String(value).padStart(2, "0");
}
