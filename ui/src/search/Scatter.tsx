/**
 * Duration over time, one mark per trace: a click opens the trace, a drag narrows the time range.
 * The table below says the same in words, so to a screen reader this is one picture.
 */
import { type PointerEvent, useMemo, useRef, useState } from "react";
import { navigate } from "../address/address";
import { tracePath } from "../address/routes";
import type { TraceSummary } from "../api/types";
import { useSize } from "../components/useSize";
import { formatDuration } from "../lib/duration";
import { plural } from "../lib/numbers";
import { formatMs, formatTime, msToNano, nanoToMs, type TimeRange } from "../lib/time";
import { layoutScatter, type Mark, timeAt } from "./scatterLayout";

const HEIGHT = 150;
const DRAG_PIXELS = 6;

interface Props {
  traces: TraceSummary[];
  onRange: (range: TimeRange) => void;
}

export function Scatter({ traces, onRange }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const { width } = useSize(box);
  const layout = useMemo(() => layoutScatter(traces, width, HEIGHT), [traces, width]);
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
    <div className="scatter" ref={box}>
      {width > 0 && (
        // A convenience for the pointer: the table and the range picker do the same from the keyboard.
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
          {layout.yTicks.map((tick) => (
            <g key={tick.y}>
              <line className="grid" x1={layout.left} x2={width - layout.right} y1={tick.y} y2={tick.y} />
              <text className="axis" x={layout.left - 6} y={tick.y + 4} textAnchor="end">
                {tick.label}
              </text>
            </g>
          ))}
          {layout.xTicks.map((tick) => (
            <text key={tick.x} className="axis" x={tick.x} y={HEIGHT - 4} textAnchor="middle">
              {tick.label}
            </text>
          ))}
          {drag && Math.abs(drag.to - drag.from) >= DRAG_PIXELS && (
            <rect
              className="brush"
              x={Math.min(drag.from, drag.to)}
              width={Math.abs(drag.to - drag.from)}
              y={0}
              height={HEIGHT - 18}
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
          className="tooltip"
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
      <span className="visually-hidden">
        {traces.length > 0 &&
          `From ${formatMs(Math.min(...traces.map((trace) => nanoToMs(trace.startUnixNano))), false)}`}
      </span>
    </div>
  );
}

interface MarkProps {
  mark: Mark;
  onHover: (mark: Mark | null) => void;
  onOpen: () => void;
}

/** A circle, or a triangle when something in the trace failed. */
function MarkShape({ mark, onHover, onOpen }: MarkProps) {
  const { x, y, r, failed } = mark;
  const common = {
    className: failed ? "mark mark-failed" : "mark",
    onPointerEnter: () => onHover(mark),
    onPointerLeave: () => onHover(null),
    onClick: onOpen,
  };
  if (!failed) return <circle cx={x} cy={y} r={r} {...common} />;
  const size = r * 1.35;
  return <path d={`M${x} ${y - size}L${x + size} ${y + size * 0.8}H${x - size}Z`} {...common} />;
}
