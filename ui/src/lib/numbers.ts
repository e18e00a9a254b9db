/** Counts, rates and fractions as text. */

const COUNT = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const COMPACT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

export function formatCount(value: number): string {
  return COUNT.format(value);
}

export function formatCompact(value: number): string {
  return value >= 100 && value < 10_000 ? COUNT.format(value) : COMPACT.format(value);
}

/** A rate per second, or per minute if that is easier to read. */
export function formatRate(perSecond: number): string {
  if (perSecond === 0) return "0/s";
  if (perSecond >= 1) return `${COMPACT.format(perSecond)}/s`;
  const perMinute = perSecond * 60;
  return perMinute >= 0.1 ? `${Number(perMinute.toPrecision(2))}/min` : "<0.1/min";
}

/** A fraction as a percentage. A few failures never become `0%`, and a few successes never `100%`. */
export function formatPercent(fraction: number): string {
  if (fraction <= 0) return "0%";
  if (fraction >= 1) return "100%";
  const percent = fraction * 100;
  if (percent < 0.01) return "<0.01%";
  if (percent > 99.99) return ">99.99%";
  return `${Number(percent.toPrecision(percent >= 10 ? 3 : 2))}%`;
}

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB"] as const;

/** Three significant digits and the binary unit that keeps them readable: `1.46 KiB`, `12 MiB`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.5 would be rounded to 1024.
  while (value >= 1023.5 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  const text = unit === 0 || value >= 99.95 ? value.toFixed(0) : value.toPrecision(3);
  return `${text.replace(/\.0+$/, "")} ${BYTE_UNITS[unit]}`;
}

export function plural(count: number, one: string, many = `${one}s`): string {
  return `${formatCount(count)} ${count === 1 ? one : many}`;
}
