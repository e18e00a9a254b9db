/** Timeline maths: the shown part of the trace, positions in it, and the ruler's ticks. */

/** The shown part of the trace, in nanoseconds from its start. */
export interface View {
  from: number;
  to: number;
}

const MIN_VIEW_NANO = 100;

const LONG_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200, 86400];

export interface Place {
  /** Percent of the width. */
  left: number;
  width: number;
  /** Whether any of it is inside the view. */
  visible: boolean;
}

/** The position of an interval in the view, clipped to it. */
export function place(view: View, start: number, duration: number): Place {
  const span = view.to - view.from;
  const from = (Math.max(start, view.from) - view.from) / span;
  const to = (Math.min(start + duration, view.to) - view.from) / span;
  return {
    left: clamp01(from) * 100,
    width: Math.max(0, clamp01(to) - clamp01(from)) * 100,
    visible: to >= 0 && from <= 1,
  };
}

/** Ticks at round values, at most `most` of them. */
export function ticks(view: View, most: number): number[] {
  const step = tickStep((view.to - view.from) / Math.max(1, most));
  const result: number[] = [];
  for (let at = Math.ceil(view.from / step) * step; at <= view.to; at += step) result.push(at);
  return result;
}

/** The smallest round step of at least `least` nanoseconds: 1, 2, 5 x 10^n below a second, then clock units. */
export function tickStep(least: number): number {
  if (least > 0.5e9) {
    const step = LONG_STEPS.find((seconds) => seconds * 1e9 >= least);
    if (step) return step * 1e9;
    return Math.ceil(least / 86400e9) * 86400e9;
  }
  const power = 10 ** Math.floor(Math.log10(Math.max(least, 1)));
  const factor = [1, 2, 5, 10].find((candidate) => candidate * power >= least) ?? 10;
  return factor * power;
}

/** Zooms around a point that keeps its position; with `factor` below 1 the view gets shorter. */
export function zoom(view: View, duration: number, around: number, factor: number): View {
  const width = Math.min(duration, Math.max(MIN_VIEW_NANO, (view.to - view.from) * factor));
  const share = (around - view.from) / (view.to - view.from);
  return shift({ from: around - width * share, to: around + width * (1 - share) }, duration, 0);
}

/** Moves the view by `delta`, staying inside the trace. */
export function shift(view: View, duration: number, delta: number): View {
  const width = Math.min(view.to - view.from, duration);
  const from = Math.min(Math.max(0, view.from + delta), duration - width);
  return { from, to: from + width };
}

/** Moves the view to an interval outside it, without changing its width. Returns the same view if they overlap. */
export function follow(view: View, duration: number, start: number, length: number): View {
  if (start + length >= view.from && start <= view.to) return view;
  return shift(view, duration, start + length / 2 - (view.from + view.to) / 2);
}

/** The view between two points in any order; null if they are too close for a selection. */
export function between(a: number, b: number, bounds: View): View | null {
  const from = Math.max(bounds.from, Math.min(a, b));
  const to = Math.min(bounds.to, Math.max(a, b));
  return to - from < Math.max(MIN_VIEW_NANO, (bounds.to - bounds.from) / 500) ? null : { from, to };
}

/** The first and last row to draw of a list scrolled to `scrollTop`, with spare rows on both sides. */
export function windowOf(scrollTop: number, height: number, rowHeight: number, count: number, spare = 8) {
  const first = Math.max(0, Math.floor(scrollTop / rowHeight) - spare);
  const last = Math.min(count, Math.ceil((scrollTop + height) / rowHeight) + spare);
  return { first: Math.min(first, count), last };
}

/**
 * The scroll position that shows a row: unchanged, by one row at the edge, or with the row in the middle after a jump.
 */
export function scrollTo(scrollTop: number, height: number, rowHeight: number, position: number): number {
  const top = position * rowHeight;
  const bottom = top + rowHeight;
  if (top >= scrollTop && bottom <= scrollTop + height) return scrollTop;
  if (top < scrollTop && scrollTop - top <= rowHeight) return top;
  if (bottom > scrollTop + height && bottom - scrollTop - height <= rowHeight) return bottom - height;
  return Math.max(0, top - (height - rowHeight) / 2);
}

function clamp01(value: number): number {
  return Math.min(1, Math.max(0, value));
}
