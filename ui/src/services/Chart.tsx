/**
 * A line chart over time, drawn by uPlot. A table has the same values, for users who cannot see a canvas. A drag
 * narrows the time range.
 */
import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useSize } from "../components/useSize";
import { resolveColour, useThemeVersion } from "../components/useTheme";
import { formatMs, msToNano, type TimeRange } from "../lib/time";
import styles from "./Chart.module.css";

const HEIGHT = 180;
const DRAG_PIXELS = 6;
const AXIS_FONT = "11px system-ui, sans-serif";

export interface Line {
  label: string;
  values: (number | null)[];
  colour: string;
  dash?: number[];
  fill?: boolean;
}

interface Props {
  title: string;
  summary: string;
  times: number[];
  lines: Line[];
  format: (value: number) => string;
  onRange: (range: TimeRange) => void;
}

export function Chart({ title, summary, times, lines, format, onRange }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const { width } = useSize(box);
  const theme = useThemeVersion();
  const rangeHandler = useRef(onRange);
  useEffect(() => {
    rangeHandler.current = onRange;
  });

  useEffect(() => {
    void theme;
    if (!box.current || width === 0) return;
    const options = chartOptions(width, lines, format, (range) => rangeHandler.current(range));
    const plot = new uPlot(options, [times, ...lines.map((line) => line.values)], box.current);
    return () => plot.destroy();
  }, [times, lines, format, width, theme]);

  return (
    <figure className={styles.chart}>
      <figcaption>
        <strong>{title}</strong> <span className="muted">{summary}</span>
      </figcaption>
      <div ref={box} className="chart-canvas" role="img" aria-label={`${title} over time: ${summary}`} />
      <ChartTable title={title} times={times} lines={lines} format={format} />
    </figure>
  );
}

function chartOptions(
  width: number,
  lines: Line[],
  format: (value: number) => string,
  onRange: (range: TimeRange) => void,
): uPlot.Options {
  const text = resolveColour("var(--text-muted)");
  const grid = { stroke: resolveColour("var(--line)"), width: 1 };
  return {
    width,
    height: HEIGHT,
    padding: [8, 18, 0, 0],
    cursor: { drag: { x: true, y: false, setScale: false }, points: { size: 6 } },
    legend: { live: true },
    scales: { y: { range: (_, __, high) => [0, high > 0 ? high * 1.08 : 1] } },
    axes: [
      { stroke: text, grid, ticks: { show: false }, font: AXIS_FONT, size: 26, values: TIME_LABELS },
      {
        stroke: text,
        grid,
        ticks: { show: false },
        font: AXIS_FONT,
        size: 62,
        values: (_, splits) => splits.map((value) => (value === 0 ? "0" : format(value))),
      },
    ],
    series: [
      { label: "time", value: (_, value) => (value === null ? "" : formatMs(value * 1000, false)) },
      ...lines.map((line) => ({
        label: line.label,
        stroke: resolveColour(line.colour),
        width: 1.6,
        dash: line.dash,
        fill: line.fill ? resolveColour(`color-mix(in srgb, ${line.colour} 14%, transparent)`) : undefined,
        // A value between two gaps has no line, so it gets a point.
        points: { show: true, size: 4, filter: (plot: uPlot, at: number) => lonePoints(plot.data[at]) },
        value: (_: uPlot, value: number | null) => (value === null ? "–" : format(value)),
      })),
    ],
    hooks: {
      setSelect: [
        (plot) => {
          const { left, width: selected } = plot.select;
          if (selected < DRAG_PIXELS) return;
          const from = plot.posToVal(left, "x") * 1000;
          const to = plot.posToVal(left + selected, "x") * 1000;
          onRange({ start: msToNano(Math.floor(from)), end: msToNano(Math.ceil(to)) });
        },
      ],
    },
  };
}

function lonePoints(values: ArrayLike<number | null | undefined> = []): number[] {
  const alone: number[] = [];
  for (let at = 0; at < values.length; at++) {
    if (values[at] != null && values[at - 1] == null && values[at + 1] == null) alone.push(at);
  }
  return alone;
}

const DAY = 86400;
const MINUTE = 60;

/** Labels in 24-hour time, with the date where it changes. */
const TIME_LABELS: uPlot.Axis.Values = (_, splits, __, ___, step) => {
  let lastDay = "";
  return splits.map((seconds) => {
    const [day, clock] = formatMs(seconds * 1000, false).split(" ") as [string, string];
    const shown = step >= MINUTE ? clock.slice(0, 5) : clock;
    const changed = lastDay !== "" && lastDay !== day;
    lastDay = day;
    return step >= DAY ? day.slice(5) : changed ? `${day.slice(5)} ${shown}` : shown;
  });
};

function ChartTable({ title, times, lines, format }: Pick<Props, "title" | "times" | "lines" | "format">) {
  const rows = useMemo(
    () => times.map((time, at) => ({ time, values: lines.map((line) => line.values[at] ?? null) })),
    [times, lines],
  );
  return (
    <details className={styles.chartTable}>
      <summary>Figures</summary>
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it. */}
      <section className={styles.chartTableScroll} tabIndex={0} aria-label={`Figures of ${title}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">Time</th>
              {lines.map((line) => (
                <th key={line.label} scope="col" className="num">
                  {line.label}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {rows.map(({ time, values }) => (
              <tr key={time}>
                <th scope="row">{formatMs(time * 1000, false)}</th>
                {values.map((value, at) => (
                  <td key={lines[at]?.label} className="num tnum">
                    {value === null ? "–" : format(value)}
                  </td>
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </details>
  );
}
