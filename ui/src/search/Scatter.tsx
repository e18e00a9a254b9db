/**
 * A scatter plot of duration over time, one mark per trace of the search, in front of the number of requests. A click
 * opens the trace, a drag narrows the range. The caption and the table below have the same data as text, so for screen
 * readers this is one picture.
 */
import { type PointerEvent, useMemo, useRef, useState } from "react";
import { navigate } from "../address/address";
import { tracePath } from "../address/routes";
import type { AggregatesAnswer, TraceSummary } from "../api/types";
import { useApi } from "../api/useApi";
import { useSize } from "../components/useSize";
import { nowMs } from "../lib/clock";
import { formatDuration } from "../lib/duration";
import { formatCount, plural } from "../lib/numbers";
import { describeRange, formatTime, msToNano, resolveRange, type TimeRange } from "../lib/time";
import { parseQuery } from "../lib/traceql";
import { aggregatesUrl, chartStep, totals } from "../services/aggregates";
import type { SearchParams } from "./params";
import styles from "./Scatter.module.css";
import { layoutScatter, type Mark, timeAt } from "./scatterLayout";

const HEIGHT = 150;
const DRAG_PIXELS = 6;

interface Props {
  traces: TraceSummary[];
  search: SearchParams;
  onRange: (range: TimeRange) => void;
}

export function Scatter({ traces, search, onRange }: Props) {
  const { range } = search;
  const box = useRef<HTMLDivElement>(null);
  const { width } = useSize(box);
  // A range without an end is up to now, and moves when new traces are loaded.
  const { startMs, endMs } = useMemo(() => {
    void traces;
    return resolveRange(range, nowMs());
  }, [range, traces]);
  const requests = useRequests(search);
  const layout = useMemo(
    () => layoutScatter(traces, requests.counts, { width, height: HEIGHT, fromMs: startMs, toMs: endMs }),
    [traces, requests.counts, width, startMs, endMs],
  );
  const [hover, setHover] = useState<Mark | null>(null);
  const [drag, setDrag] = useState<{ from: number; to: number } | null>(null);

  const pointerX = (event: PointerEvent) => event.clientX - (box.current?.getBoundingClientRect().left ?? 0);
  const finish = () => {
    setDrag(null);
    if (!drag || Math.abs(drag.to - drag.from) < DRAG_PIXELS) return;
    const a = timeAt(layout, Math.min(drag.from, drag.to));
    const b = timeAt(layout, Math.max(drag.from, drag.to));
    onRange({ start: msToNano(Math.floor(a)), end: msToNano(Math.ceil(b)) });
  };

  return (
    <figure className={styles.scatterFigure}>
      <div className={styles.scatter} ref={box}>
        {width > 0 && (
          // Only a convenience for the pointer: the table and the range picker do the same by keyboard.
          <svg
            width={width}
            height={HEIGHT}
            role="img"
            aria-label={`Duration over start time of ${plural(traces.length, "trace")}`}
            onPointerDown={(event) =>
              event.button === 0 && setDrag({ from: pointerX(event), to: pointerX(event) })
            }
            onPointerMove={(event) => drag && setDrag({ ...drag, to: pointerX(event) })}
            onPointerUp={finish}
            onPointerLeave={() => setDrag(null)}
          >
            {layout.bars.map((bar) => (
              <g key={bar.x}>
                <rect
                  className={styles.requestsBar}
                  x={bar.x}
                  y={layout.bottom - bar.height}
                  width={bar.width}
                  height={bar.height}
                />
                <rect
                  className={styles.errorsBar}
                  x={bar.x}
                  y={layout.bottom - bar.failedHeight}
                  width={bar.width}
                  height={bar.failedHeight}
                />
              </g>
            ))}
            {layout.yTicks.map((tick) => (
              <g key={tick.y}>
                <line
                  className={styles.grid}
                  x1={layout.left}
                  x2={width - layout.right}
                  y1={tick.y}
                  y2={tick.y}
                />
                <text className={styles.axis} x={layout.left - 6} y={tick.y + 4} textAnchor="end">
                  {tick.label}
                </text>
              </g>
            ))}
            {layout.xTicks.map((tick) => (
              <text key={tick.x} className={styles.axis} x={tick.x} y={HEIGHT - 4} textAnchor="middle">
                {tick.label}
              </text>
            ))}
            {drag && Math.abs(drag.to - drag.from) >= DRAG_PIXELS && (
              <rect
                className={styles.brush}
                x={Math.min(drag.from, drag.to)}
                width={Math.abs(drag.to - drag.from)}
                y={0}
                height={layout.bottom}
              />
            )}
            {layout.marks.map((mark) => (
              <MarkShape
                key={mark.trace.id}
                mark={mark}
                onHover={setHover}
                onOpen={() => navigate(tracePath(mark.trace.id))}
              />
            ))}
          </svg>
        )}
        {hover && !drag && (
          <div
            className={styles.tooltip}
            style={{ left: Math.min(Math.max(hover.x, 110), width - 110), top: hover.y + 12 }}
            aria-hidden="true"
          >
            <strong>
              {hover.trace.rootService ?? "unknown_service"} {hover.trace.rootName}
            </strong>
            <span>
              {formatDuration(hover.trace.durationNano)} · {plural(hover.trace.spanCount, "span")}
              {hover.trace.errorCount > 0 && ` · ${plural(hover.trace.errorCount, "error")}`}
            </span>
            <span className="muted">{formatTime(hover.trace.startUnixNano)}</span>
          </div>
        )}
      </div>
      <figcaption className="muted">
        {requests.text} {describeOutside(layout.marks)}
      </figcaption>
    </figure>
  );
}

/** The requests for the bars: of the service and operation of the query, if the form can express them. */
function useRequests({ query, range }: SearchParams) {
  const { service, operation } = parseQuery(query) ?? { service: "", operation: "" };
  const url = useMemo(
    () => aggregatesUrl(range, "", chartStep(range, nowMs()), { service, operation }),
    [range, service, operation],
  );
  const { data } = useApi<AggregatesAnswer>(url, { keep: true });
  return useMemo(() => {
    if (!data) return { counts: null, text: "" };
    const points = data.series[0]?.points ?? [];
    const { requestCount, errorCount } = totals(points);
    const of = operation ? ` to ${operation}` : service ? ` to ${service}` : "";
    const failed = errorCount > 0 ? `, ${formatCount(errorCount)} failed` : "";
    const text = `Behind the dots: ${plural(requestCount, "request")}${of}${failed}, ${describeRange(range).toLowerCase()}.`;
    return { counts: { stepMs: data.stepNano / 1e6, points }, text };
  }, [data, service, operation, range]);
}

/** Describes traces that start outside the range, although their matching spans are in it. */
function describeOutside(marks: readonly Mark[]): string {
  const say = (side: "before" | "after") => {
    const outside = marks.filter((mark) => mark.outside === side);
    const [first] = outside.map((mark) => mark.trace.startUnixNano).sort();
    if (first === undefined) return "";
    const edge = side === "before" ? "left" : "right";
    const verb = outside.length === 1 ? "starts" : "start";
    const when =
      side === "before" ? "before the range" : `after the range, the first at ${formatTime(first)}`;
    return `${plural(outside.length, "trace")} ${verb} ${when}: at the ${edge} edge.`;
  };
  return [say("before"), say("after")].filter(Boolean).join(" ");
}

interface MarkProps {
  mark: Mark;
  onHover: (mark: Mark | null) => void;
  onOpen: () => void;
}

/** A circle, or a triangle if the trace has failed spans. */
function MarkShape({ mark, onHover, onOpen }: MarkProps) {
  const { x, y, r, failed } = mark;
  const classes = [styles.mark];
  if (failed) classes.push(styles.markFailed);
  if (mark.outside) classes.push(styles.markOutside);
  const common = {
    className: classes.join(" "),
    "data-trace": mark.trace.id,
    onPointerEnter: () => onHover(mark),
    onPointerLeave: () => onHover(null),
    onClick: onOpen,
  };
  if (!failed) return <circle cx={x} cy={y} r={r} {...common} />;
  const size = r * 1.35;
  return <path d={`M${x} ${y - size}L${x + size} ${y + size * 0.8}H${x - size}Z`} {...common} />;
}
