/** One row of the waterfall: a segment or a span, its name on the left, its bar on the right. */
import { memo } from "react";
import type { Span } from "../api/types";
import { FailedMark } from "../components/Service";
import { colourVar } from "../lib/colour";
import { formatDuration, formatOffset } from "../lib/duration";
import { nanoBetween } from "../lib/time";
import { place, type View } from "./timeline";
import { hasChildren, type Row, selfIntervals, type Tree } from "./tree";
import styles from "./WaterfallRow.module.css";

const KIND_LABELS: Record<string, string> = {
  SERVER: "server",
  CLIENT: "client",
  PRODUCER: "producer",
  CONSUMER: "consumer",
};
/** Rows farther from the view than this show the distance. */
const FAR_NANO = 3600e9;
const MOST_SELF_PARTS = 60;
const MOST_EVENT_MARKS = 30;
/** Room for the longest duration and its gap to the bar. */
const LABEL_PIXELS = 66;

interface Props {
  id: string;
  tree: Tree;
  index: number;
  row: Row;
  top: number;
  rowIndex: number;
  indent: number;
  colour: number | undefined;
  open: boolean;
  active: boolean;
  selected: boolean;
  match: boolean;
  view: View;
  timelineWidth: number;
  onToggle: (index: number) => void;
  onOpen: (index: number) => void;
}

export const WaterfallRow = memo(function WaterfallRow(props: Props) {
  const { id, row, index, top, rowIndex, indent, colour, open, active, selected, match, onToggle, onOpen } =
    props;
  const { segment, span } = row;
  const branch = hasChildren(row, index);
  const classes = [styles.waterfallRow];
  if (!span) classes.push(styles.rowSegment);
  if (active) classes.push(styles.isActive);
  if (match) classes.push(styles.isMatch);
  if (row.failed && span) classes.push(styles.isFailed);
  return (
    // biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive lint/a11y/useKeyWithClickEvents: part of the virtual grid, which holds the focus and the keys.
    <div
      id={id}
      className={classes.join(" ")}
      role="row"
      aria-level={row.depth + 1}
      aria-posinset={row.position}
      aria-setsize={row.siblings}
      aria-expanded={branch ? open : undefined}
      aria-selected={selected}
      aria-rowindex={rowIndex}
      data-segment={segment.id}
      data-span={span?.id}
      data-match={match || undefined}
      style={{ top, "--colour": colourVar(colour) } as React.CSSProperties}
      onClick={() => onOpen(index)}
    >
      {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: as above. */}
      <div role="gridcell" className={styles.cellName} style={{ paddingLeft: 4 + row.depth * indent }}>
        <span
          className={branch ? styles.caret : `${styles.caret} ${styles.caretNone}`}
          aria-hidden="true"
          onClick={(event) => {
            if (!branch) return;
            event.stopPropagation();
            onToggle(index);
          }}
        >
          {branch ? (open ? "▾" : "▸") : ""}
        </span>
        {span ? <SpanName row={row} /> : <SegmentName row={row} />}
        {branch && !open && <span className={styles.hiddenCount}>+{row.end - index - 1}</span>}
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: as above. */}
      <div role="gridcell" className={styles.cellBar}>
        <Bar {...props} />
      </div>
    </div>
  );
});

function SegmentName({ row }: { row: Row }) {
  const { segment } = row;
  return (
    <>
      <span className="swatch" style={{ background: "var(--colour)" }} aria-hidden="true" />
      <span className={styles.segmentService} title={segment.service}>
        {segment.service}
      </span>
      {segment.instance && <span className={styles.segmentInstance}>{segment.instance}</span>}
      {segment.errorCount > 0 && (
        <span className="error-count">
          <span aria-hidden="true">▲</span>
          {segment.errorCount}
          <span className="visually-hidden"> errors</span>
        </span>
      )}
    </>
  );
}

function SpanName({ row }: { row: Row }) {
  const { span, segment } = row;
  if (!span) return null;
  const kind = KIND_LABELS[span.kind];
  return (
    <>
      {row.failed && <FailedMark />}
      <span className={styles.spanName} title={`${segment.service}: ${span.name}`}>
        {span.name || "(no name)"}
      </span>
      {row.failed && span.errorCode && (
        <code className={styles.rowCode} title={span.errorCode}>
          {span.errorCode}
        </code>
      )}
      {kind && <span className={styles.kind}>{kind}</span>}
      {span.warnings.length > 0 && (
        <span className={styles.warningMark} title={span.warnings.join("\n")}>
          <span aria-hidden="true">⚠</span>
          <span className="visually-hidden">Has warnings</span>
        </span>
      )}
    </>
  );
}

function Bar({ row, tree, index, view, timelineWidth }: Props) {
  const box = place(view, row.start, row.duration);
  const label = formatDuration(row.duration);
  if (!box.visible) {
    const before = row.start + row.duration < view.from;
    const distance = before ? row.start + row.duration - view.from : row.start - view.to;
    const far = Math.abs(distance) > FAR_NANO ? ` (${formatOffset(distance)})` : "";
    return (
      <span className={`${styles.offView} ${before ? styles.offBefore : styles.offAfter}`}>
        {before ? "◂" : "▸"} {label}
        {far}
      </span>
    );
  }
  const pixel = (view.to - view.from) / timelineWidth;
  return (
    <>
      <span
        className={row.span ? styles.bar : `${styles.bar} ${styles.barSegment}`}
        style={{ left: `${box.left}%`, width: `max(2px, ${box.width}%)` }}
      />
      {row.span &&
        mergeParts(selfIntervals(tree, index), pixel).map(([from, to]) => {
          const part = place(view, row.start + from, to - from);
          if (!part.visible) return null;
          return (
            <span
              key={from}
              className={styles.barSelf}
              style={{ left: `${part.left}%`, width: `max(1px, ${part.width}%)` }}
            />
          );
        })}
      {row.span && <EventMarks row={row} span={row.span} view={view} />}
      <BarLabel left={box.left} width={box.width} timelineWidth={timelineWidth} label={label} />
    </>
  );
}

function EventMarks({ row, span, view }: { row: Row; span: Span; view: View }) {
  return span.events.slice(0, MOST_EVENT_MARKS).map(({ timeUnixNano }, at) => {
    if (timeUnixNano === undefined) return null;
    const mark = place(view, row.start + nanoBetween(span.startUnixNano, timeUnixNano), 0);
    if (!mark.visible) return null;
    // biome-ignore lint/suspicious/noArrayIndexKey: events have no identity of their own and never move.
    return <span key={at} className={styles.eventMark} style={{ left: `${mark.left}%` }} />;
  });
}

interface LabelProps {
  left: number;
  width: number;
  timelineWidth: number;
  label: string;
}

/** The duration, on the side of the bar that has room for it. */
function BarLabel({ left, width, timelineWidth, label }: LabelProps) {
  const right = left + width;
  const room = (percent: number) => (percent / 100) * timelineWidth >= LABEL_PIXELS;
  const [className, style] = room(100 - right)
    ? [styles.barLabel, { left: `calc(${right}% + 6px)` }]
    : room(left)
      ? [styles.barLabel, { right: `calc(${100 - left}% + 6px)` }]
      : [`${styles.barLabel} ${styles.barLabelInside}`, { right: `calc(${100 - right}% + 4px)` }];
  return (
    <span className={className} style={style}>
      {label}
    </span>
  );
}

/** Joins parts that are within a pixel of each other, because the gap is invisible. */
function mergeParts(parts: [number, number][], pixel: number): [number, number][] {
  const merged: [number, number][] = [];
  for (const [from, to] of parts) {
    const last = merged[merged.length - 1];
    if (last && from - last[1] < pixel) last[1] = to;
    else if (merged.length < MOST_SELF_PARTS) merged.push([from, to]);
  }
  return merged;
}
