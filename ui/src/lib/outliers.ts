/**
 * Finds values that a wrong clock has moved far away from the others, so that one value a year off does not flatten a
 * whole chart.
 */

const HOUR_NANO = 3600e9;
/** A gap, or a value, that is this many times larger than the rest is an outlier. */
const FAR = 100;
const MUCH_LONGER = 1000;

/**
 * The duration of a bar of full length: the largest one, unless it is hours and a thousand times the usual one. At
 * least 1, so that it can be a divisor.
 */
export function ceilingOf(durations: readonly number[]): number {
  const sorted = durations.filter((duration) => duration > 0).sort((a, b) => a - b);
  if (sorted.length === 0) return 1;
  const usual = sorted[(sorted.length - 1) >> 1] as number;
  const limit = Math.max(HOUR_NANO, usual * MUCH_LONGER);
  return sorted.findLast((duration) => duration <= limit) ?? (sorted[0] as number);
}

export interface Extent {
  from: number;
  to: number;
}

/**
 * The extent of time in which most of the intervals begin and end. Points farther away than an hour and a hundred times
 * its length are outside. Null if there are no intervals.
 */
export function mainExtent(intervals: readonly { start: number; duration: number }[]): Extent | null {
  const points = intervals
    .flatMap(({ start, duration }) => (duration > 0 ? [start, start + duration] : [start]))
    .sort((a, b) => a - b);
  if (points.length === 0) return null;
  let best: { first: number; last: number } | null = null;
  for (let first = 0; first < points.length; ) {
    let last = first;
    while (last + 1 < points.length && !isFar(points, first, last)) last += 1;
    if (!best || last - first > best.last - best.first) best = { first, last };
    first = last + 1;
  }
  return best && { from: points[best.first] as number, to: points[best.last] as number };
}

/** Whether the point after `last` is too far from the cluster that began at `first`. */
function isFar(points: readonly number[], first: number, last: number): boolean {
  const end = points[last] as number;
  const gap = (points[last + 1] as number) - end;
  return gap > HOUR_NANO && gap > (end - (points[first] as number)) * FAR;
}
