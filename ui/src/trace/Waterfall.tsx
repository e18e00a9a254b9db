/**
 * The tree with its timeline. Only visible rows are in the document. The grid itself has the focus and refers to its
 * active row, because a row that scrolls away would lose the focus.
 */
import {
  type KeyboardEvent,
  type Ref,
  useEffect,
  useImperativeHandle,
  useLayoutEffect,
  useMemo,
  useRef,
  useState,
} from "react";
import { useSize } from "../components/useSize";
import { formatDuration } from "../lib/duration";
import { gridAction, placeOf } from "./gridKeys";
import { Splitter, useNameWidth } from "./Splitter";
import { place, scrollTo, ticks, type View, windowOf } from "./timeline";
import type { Row, Tree } from "./tree";
import styles from "./Waterfall.module.css";
import { WaterfallRow } from "./WaterfallRow";

export const ROW_HEIGHT = 26;
const HEADER_HEIGHT = 28;
const TICK_WIDTH = 110;
const WIDEST_INDENT = 14;
/** The share of the name column that indentation may take in a deep tree. */
const INDENT_SHARE = 0.45;

export interface WaterfallHandle {
  focus: () => void;
}

interface Props {
  ref: Ref<WaterfallHandle>;
  tree: Tree;
  visible: number[];
  collapsed: ReadonlySet<number>;
  colours: Map<string, number>;
  matches: ReadonlySet<number>;
  view: View;
  active: number;
  detailOpen: boolean;
  onActive: (index: number) => void;
  onToggle: (index: number) => void;
  onOpen: (index: number) => void;
}

export function Waterfall(props: Props) {
  const { tree, visible, collapsed, colours, matches, view, active, detailOpen, onActive, onToggle, onOpen } =
    props;
  const grid = useRef<HTMLDivElement>(null);
  const { width, height } = useSize(grid);
  const [scrollTop, setScrollTop] = useState(0);
  const [nameWidth, setNameWidth] = useNameWidth();

  useImperativeHandle(props.ref, () => ({ focus: () => grid.current?.focus() }), []);
  useEffect(() => grid.current?.focus({ preventScroll: true }), []);

  const position = useMemo(() => placeOf(visible, active), [visible, active]);
  const bodyHeight = Math.max(0, height - HEADER_HEIGHT);
  useLayoutEffect(() => {
    const element = grid.current;
    if (!element || bodyHeight === 0 || position < 0) return;
    element.scrollTop = scrollTo(element.scrollTop, bodyHeight, ROW_HEIGHT, position);
  }, [position, bodyHeight]);

  const { first, last } = windowOf(scrollTop, bodyHeight, ROW_HEIGHT, visible.length);
  const timelineWidth = Math.max(80, width * (1 - nameWidth / 100));
  const marks = useMemo(
    () => ticks(view, Math.max(2, Math.floor(timelineWidth / TICK_WIDTH))),
    [view, timelineWidth],
  );
  const indent = Math.max(
    2,
    Math.min(WIDEST_INDENT, (width * (nameWidth / 100) * INDENT_SHARE) / Math.max(1, tree.maxDepth)),
  );

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.target !== grid.current || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(bodyHeight / ROW_HEIGHT) - 1);
    const action = gridAction(event.key, { tree, visible, collapsed, active, position, page });
    if (!action) return;
    event.preventDefault();
    if ("go" in action) onActive(action.go);
    else if ("toggle" in action) onToggle(action.toggle);
    else onOpen(action.open);
  };

  return (
    <div
      ref={grid}
      className={styles.waterfall}
      role="treegrid"
      tabIndex={0}
      aria-label="Segments and spans"
      aria-rowcount={visible.length + 1}
      aria-activedescendant={position >= first && position < last ? rowId(active) : undefined}
      style={{ "--name-width": `${nameWidth}%` } as React.CSSProperties}
      onScroll={(event) => setScrollTop(event.currentTarget.scrollTop)}
      onKeyDown={onKeyDown}
    >
      {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: part of the virtual grid; the grid holds the focus. */}
      <div className={styles.waterfallHead} role="row" aria-rowindex={1} style={{ height: HEADER_HEIGHT }}>
        {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: as above. */}
        <span role="columnheader" className={styles.headName}>
          Service and operation
          <Splitter width={nameWidth} onWidth={setNameWidth} container={grid} />
        </span>
        {/* biome-ignore lint/a11y/useSemanticElements lint/a11y/useFocusableInteractive: as above. */}
        <span role="columnheader" className={styles.headTimeline} aria-label="Timeline">
          {marks.map((at) => (
            <span
              key={at}
              className={styles.tickLabel}
              style={{ left: `${place(view, at, 0).left}%` }}
              aria-hidden="true"
            >
              {at === 0 ? "0" : formatDuration(at)}
            </span>
          ))}
        </span>
      </div>
      {/* biome-ignore lint/a11y/useSemanticElements: as above. */}
      <div className={styles.waterfallRows} role="rowgroup" style={{ height: visible.length * ROW_HEIGHT }}>
        <div className={styles.tickLines} role="presentation">
          {marks.map((at) => (
            <span key={at} style={{ left: `${place(view, at, 0).left}%` }} />
          ))}
        </div>
        {visible.slice(first, last).map((index, offset) => {
          const row = tree.rows[index] as Row;
          return (
            <WaterfallRow
              key={index}
              id={rowId(index)}
              tree={tree}
              index={index}
              row={row}
              top={(first + offset) * ROW_HEIGHT}
              rowIndex={first + offset + 2}
              indent={indent}
              colour={colours.get(row.segment.service)}
              open={!collapsed.has(index)}
              active={index === active}
              selected={detailOpen && index === active}
              match={matches.has(index)}
              view={view}
              timelineWidth={timelineWidth}
              onToggle={onToggle}
              onOpen={onOpen}
            />
          );
        })}
      </div>
    </div>
  );
}

function rowId(index: number): string {
  return `row-${index}`;
}
