/** Spans of a trace that are far away from the rest of it, and the time of the rest. */
import { type Extent, mainExtent } from "../lib/outliers";
import type { Row, Tree } from "./tree";

export interface Outliers {
  /** The time shown at first, in which most spans are. */
  home: Extent;
  /** Rows of spans that begin or end outside it. */
  rows: number[];
}

export function findOutliers(tree: Tree, duration: number): Outliers {
  const all = { from: 0, to: duration };
  const spans = tree.rows.filter((row) => row.span !== null);
  const main = mainExtent(spans);
  if (!main) return { home: all, rows: [] };
  const home = { from: main.from, to: Math.max(main.to, main.from + 1) };
  const rows = tree.rows.flatMap((row, index) => (row.span && isOutside(row, home) ? [index] : []));
  return rows.length === 0 ? { home: all, rows } : { home, rows };
}

function isOutside(row: Row, { from, to }: Extent): boolean {
  return row.start < from || row.start + row.duration > to;
}
