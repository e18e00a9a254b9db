/** Durations in nanoseconds as text, and parsed from it. `time.ts` has points in time. */

const UNITS: Record<string, number> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Three significant digits and the unit that keeps them readable: `1.23 ms`, `45.6 s`, `2 m 5 s`. */
export function formatDuration(nano: number): string {
  if (!Number.isFinite(nano)) return "–";
  if (nano < 0) return `-${formatDuration(-nano)}`;
  if (nano < 1e3) return `${Math.round(nano)} ns`;
  // Rounds first, so that 999.9996 ms becomes 1 s and not 1000 ms.
  if (Number(digits(nano / 1e3)) < 1000) return `${digits(nano / 1e3)} µs`;
  if (Number(digits(nano / 1e6)) < 1000) return `${digits(nano / 1e6)} ms`;
  if (nano < 60e9) return `${digits(nano / 1e9)} s`;
  return formatLong(Math.round(nano / 1e9));
}

/** A distance with its sign: `+12 ms` after, `-5 ms` before. */
export function formatOffset(nano: number): string {
  return nano < 0 ? formatDuration(nano) : `+${formatDuration(nano)}`;
}

function digits(value: number): string {
  if (value >= 99.95) return value.toFixed(0);
  if (value >= 9.995) return trimZeros(value.toFixed(1));
  return trimZeros(value.toFixed(2));
}

function trimZeros(text: string): string {
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}

function formatLong(seconds: number): string {
  const parts: [number, string][] = [
    [Math.floor(seconds / 86400), "d"],
    [Math.floor((seconds % 86400) / 3600), "h"],
    [Math.floor((seconds % 3600) / 60), "m"],
    [seconds % 60, "s"],
  ];
  return parts
    .filter(([count]) => count > 0)
    .slice(0, 2)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

/** The nanoseconds of `100ms`, `1.5 s` or `2m`; null if it is no duration. A unit is required. */
export function parseDuration(text: string): number | null {
  const match = /^(\d+(?:\.\d+)?|\.\d+)\s*(ns|us|µs|μs|ms|s|m|h)$/.exec(text.trim());
  if (!match) return null;
  const nano = Number(match[1]) * (UNITS[match[2] as string] as number);
  return Number.isSafeInteger(Math.round(nano)) ? Math.round(nano) : null;
}

/** A duration in the notation of TraceQL: no blank, ASCII unit. */
export function queryDuration(text: string): string {
  return text
    .trim()
    .replace(/\s+/g, "")
    .replace(/[µμ]s$/, "us");
}
