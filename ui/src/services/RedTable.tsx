/** A sortable table of rate, errors and latency, one row per service or operation. */
import { type ReactNode, useMemo, useState } from "react";
import { formatDuration } from "../lib/duration";
import { formatPercent, formatRate } from "../lib/numbers";
import { ceilingOf } from "../lib/outliers";
import type { Totals } from "./aggregates";
import styles from "./RedTable.module.css";

export interface RedRow {
  key: string;
  name: ReactNode;
  /** Null if there were no requests in the range. */
  totals: Totals | null;
  trend?: number[] | undefined;
}

type Column = "name" | "rate" | "errors" | "p50" | "p95" | "p99";

const COLUMNS: { column: Column; label: string }[] = [
  { column: "rate", label: "Requests" },
  { column: "errors", label: "Errors" },
  { column: "p50", label: "p50" },
  { column: "p95", label: "p95" },
  { column: "p99", label: "p99" },
];

interface Props {
  caption: string;
  nameLabel: string;
  rows: RedRow[];
  rangeSeconds: number;
  withTrend?: boolean;
}

export function RedTable({ caption, nameLabel, rows, rangeSeconds, withTrend = false }: Props) {
  const [sort, setSort] = useState<{ column: Column; down: boolean }>({ column: "rate", down: true });
  const sorted = useMemo(() => sortRows(rows, sort.column, sort.down), [rows, sort]);
  const slowest = useMemo(() => ceilingOf(rows.map((row) => row.totals?.p95Nano ?? 0)), [rows]);
  const head = (column: Column, label: string, className?: string) => (
    <th
      key={column}
      scope="col"
      className={className}
      aria-sort={sort.column === column ? (sort.down ? "descending" : "ascending") : undefined}
    >
      <button
        type="button"
        className={styles.sortButton}
        onClick={() =>
          setSort((old) =>
            old.column === column ? { column, down: !old.down } : { column, down: column !== "name" },
          )
        }
      >
        {label}
        <span aria-hidden="true">{sort.column === column ? (sort.down ? " ↓" : " ↑") : ""}</span>
      </button>
    </th>
  );
  return (
    <table className={styles.redTable}>
      <caption className="visually-hidden">{caption}</caption>
      <thead>
        <tr>
          {head("name", nameLabel)}
          {withTrend && (
            <th scope="col" className={styles.cellTrend}>
              Trend
            </th>
          )}
          {COLUMNS.map(({ column, label }) => head(column, label, "num"))}
        </tr>
      </thead>
      <tbody>
        {sorted.map((row) => (
          <tr key={row.key}>
            <th scope="row">{row.name}</th>
            {withTrend && (
              <td className={styles.cellTrend}>
                <Sparkline values={row.trend ?? []} />
              </td>
            )}
            <Numbers totals={row.totals} rangeSeconds={rangeSeconds} slowest={slowest} />
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function Numbers({
  totals,
  rangeSeconds,
  slowest,
}: {
  totals: Totals | null;
  rangeSeconds: number;
  slowest: number;
}) {
  if (!totals || totals.requestCount === 0) {
    return (
      <td colSpan={COLUMNS.length} className="num muted">
        no requests in this range
      </td>
    );
  }
  const latency = (nano: number) => `${totals.approximate ? "≈ " : ""}${formatDuration(nano)}`;
  return (
    <>
      <td className="num tnum" data-label="Requests" title={`${totals.requestCount} requests`}>
        {formatRate(totals.requestCount / rangeSeconds)}
      </td>
      <td className="num tnum" data-label="Errors" title={`${totals.errorCount} errors`}>
        {totals.errorCount > 0 ? (
          <span className="error-count">
            <span aria-hidden="true">▲ </span>
            {formatPercent(totals.errorRate)}
          </span>
        ) : (
          <span className="muted">0%</span>
        )}
      </td>
      <td className="num tnum" data-label="p50">
        {latency(totals.p50Nano)}
      </td>
      <td className="num tnum cell-latency" data-label="p95">
        {latency(totals.p95Nano)}
        <span className="duration-bar" aria-hidden="true">
          <span style={{ width: `${Math.min(1, totals.p95Nano / slowest) * 100}%` }} />
        </span>
      </td>
      <td className="num tnum" data-label="p99">
        {latency(totals.p99Nano)}
      </td>
    </>
  );
}

/** The trend as a shape; the numbers are in the columns beside it. */
function Sparkline({ values }: { values: number[] }) {
  const width = 120;
  const height = 22;
  const top = Math.max(...values, 0);
  if (values.length < 2 || top === 0) return null;
  const points = values.map((value, index) => {
    const x = (index / (values.length - 1)) * width;
    return `${x.toFixed(1)},${(height - 2 - (value / top) * (height - 4)).toFixed(1)}`;
  });
  return (
    <svg className={styles.sparkline} width={width} height={height} aria-hidden="true">
      <polygon points={`0,${height} ${points.join(" ")} ${width},${height}`} />
      <polyline points={points.join(" ")} />
    </svg>
  );
}

function sortRows(rows: RedRow[], column: Column, down: boolean): RedRow[] {
  const value = (row: RedRow): number => {
    if (!row.totals) return -1;
    if (column === "errors") return row.totals.errorRate;
    if (column === "p50") return row.totals.p50Nano;
    if (column === "p95") return row.totals.p95Nano;
    if (column === "p99") return row.totals.p99Nano;
    return row.totals.requestCount;
  };
  const compare = (a: RedRow, b: RedRow) =>
    column === "name" ? a.key.localeCompare(b.key) : value(a) - value(b);
  return [...rows].sort((a, b) => (down ? -1 : 1) * compare(a, b) || a.key.localeCompare(b.key));
}
