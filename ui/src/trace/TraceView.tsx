/** The trace page with a loaded trace: holds the selection, the collapsed rows, the search and the zoom. */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useQuery } from "../address/address";
import type { Trace } from "../api/types";
import { useServiceColours } from "../components/useServiceColours";
import { plural } from "../lib/numbers";
import { formatTime } from "../lib/time";
import { DetailPanel } from "./DetailPanel";
import { FindBar } from "./FindBar";
import { findRows, rowText } from "./find";
import { Hops } from "./Hops";
import { hasProxies } from "./hops";
import { Minimap } from "./Minimap";
import { findOutliers, type Outliers } from "./outliers";
import { Shortcuts } from "./Shortcuts";
import { isSame, NOTHING, readSelection, rowOf, type Selection, selectionOf } from "./selection";
import { TraceHeader } from "./TraceHeader";
import { TraceLogs } from "./TraceLogs";
import styles from "./TraceView.module.css";
import { follow, type View, zoom } from "./timeline";
import { buildTree, nextRow, type Row, reveal, type Tree, visibleRows } from "./tree";
import { useShortcuts } from "./useShortcuts";
import { Waterfall, type WaterfallHandle } from "./Waterfall";

interface Props {
  trace: Trace;
  reload: () => void;
  reloading: boolean;
}

const NONE: ReadonlySet<number> = new Set();
const ZOOM_STEP = 1.6;
const ADDRESS_DELAY_MS = 150;

export function TraceView({ trace, reload, reloading }: Props) {
  const { params, set } = useQuery();
  const [withSegments, setWithSegments] = useState(true);
  const tree = useMemo(() => buildTree(trace, withSegments), [trace, withSegments]);
  const names = useMemo(() => trace.services.map((service) => service.name), [trace]);
  const colours = useServiceColours(names);
  const duration = Math.max(1, trace.durationNano);

  const outliers = useMemo(() => findOutliers(tree, duration), [tree, duration]);
  const { home } = outliers;

  const asked = useMemo(() => readSelection(params), [params]);
  const askedFind = params.get("find") ?? "";
  const [active, setActive] = useState(() => Math.max(0, rowOf(tree, asked)));
  const [detailOpen, setDetailOpen] = useState(() => rowOf(tree, asked) >= 0);
  const [missing, setMissing] = useState(() => missingSpan(tree, asked));
  const [collapsed, setCollapsed] = useState(NONE);
  const [view, setView] = useState<View>(() => startView(home, duration, tree.rows[rowOf(tree, asked)]));
  const [help, setHelp] = useState(false);
  const [hopsOpen, setHopsOpen] = useState(false);
  const folded = params.get("fold") === "mesh";
  const withProxies = useMemo(() => folded || hasProxies(trace), [folded, trace]);
  const waterfall = useRef<WaterfallHandle>(null);
  const findInput = useRef<HTMLInputElement>(null);

  const visible = useMemo(() => visibleRows(tree, collapsed), [tree, collapsed]);
  const find = useFind(tree, trace, askedFind);

  const goTo = useCallback(
    (index: number) => {
      if (index < 0) return;
      setCollapsed((old) => reveal(tree, old, index));
      setActive(index);
      const row = tree.rows[index];
      if (row) setView((old) => follow(old, duration, row.start, row.duration));
    },
    [tree, duration],
  );

  // The address follows selection and search after a pause: browsers refuse hundreds of changes a second.
  const written = useRef({ selection: asked, find: askedFind });
  const { query: sought, setQuery: seek } = find;
  useEffect(() => {
    const selection = detailOpen ? selectionOf(tree, active) : missing !== null ? asked : NOTHING;
    const timer = setTimeout(() => {
      written.current = { selection, find: sought };
      set({ ...selection, find: sought }, { replace: true });
    }, ADDRESS_DELAY_MS);
    return () => clearTimeout(timer);
  }, [tree, active, detailOpen, missing, asked, sought, set]);
  // The selection follows the address when a link or the history changes it.
  useEffect(() => {
    if (!isSame(asked, written.current.selection)) {
      written.current.selection = asked;
      const row = rowOf(tree, asked);
      goTo(row);
      setDetailOpen(row >= 0);
      setMissing(missingSpan(tree, asked));
    }
    if (askedFind !== written.current.find) {
      written.current.find = askedFind;
      seek(askedFind);
    }
  }, [asked, askedFind, tree, goTo, seek]);

  const open = (index: number) => {
    setActive(index);
    setDetailOpen(true);
    setMissing(null);
  };
  const toggle = useCallback((index: number) => {
    setCollapsed((old) => {
      const next = new Set(old);
      if (!next.delete(index)) next.add(index);
      return next;
    });
  }, []);

  const collapseAll = () => {
    setCollapsed(
      new Set(tree.rows.flatMap((row, index) => (row.end > index + 1 && row.depth > 0 ? [index] : []))),
    );
    setActive(0);
  };
  const switchSegments = () => {
    const next = buildTree(trace, !withSegments);
    setWithSegments(!withSegments);
    setCollapsed(NONE);
    setActive(Math.max(0, rowOf(next, selectionOf(tree, active))));
  };
  const switchFold = () => {
    if (withProxies) set({ fold: folded ? undefined : "mesh" });
  };
  const goToError = (direction: 1 | -1) =>
    goTo(nextRow(tree, active, direction, (row) => row.span !== null && row.failed));
  const goToMatch = (direction: 1 | -1) =>
    goTo(nextRow(tree, active, direction, (_, index) => find.set.has(index)));
  const zoomBy = (factor: number) => {
    const row = tree.rows[active];
    const middle = row ? row.start + row.duration / 2 : duration / 2;
    const around = middle >= view.from && middle <= view.to ? middle : (view.from + view.to) / 2;
    setView(zoom(view, duration, around, factor));
  };
  const rowOfSpan = (id: string) => rowOf(tree, { span: id, segment: undefined });
  const goToSpan = (id: string) => {
    goTo(rowOfSpan(id));
    setDetailOpen(true);
  };
  const closeDetail = () => {
    setDetailOpen(false);
    waterfall.current?.focus();
  };

  useShortcuts({
    "/": () => findInput.current?.focus(),
    e: () => goToError(1),
    E: () => goToError(-1),
    n: () => goToMatch(1),
    N: () => goToMatch(-1),
    "[": collapseAll,
    "]": () => setCollapsed(NONE),
    s: switchSegments,
    h: () => setHopsOpen(withProxies && !hopsOpen),
    f: switchFold,
    "+": () => zoomBy(1 / ZOOM_STEP),
    "=": () => zoomBy(1 / ZOOM_STEP),
    "-": () => zoomBy(ZOOM_STEP),
    "0": () => setView(home),
    "?": () => setHelp(true),
    Escape: () => (detailOpen ? closeDetail() : setView(home)),
  });

  return (
    <div className={styles.tracePage}>
      <TraceHeader
        trace={trace}
        colours={colours}
        onService={find.setQuery}
        reload={reload}
        reloading={reloading}
      />
      <div className={styles.traceTools}>
        <FindBar ref={findInput} find={find} active={active} onMove={goToMatch} />
        <ErrorJump tree={tree} onMove={goToError} />
        <span className={styles.toolGroup}>
          <button type="button" onClick={() => setCollapsed(NONE)} title="Expand all ( ] )">
            <ToolName name="Expand all" sign="⊞" />
          </button>
          <button type="button" onClick={collapseAll} title="Collapse all ( [ )">
            <ToolName name="Collapse all" sign="⊟" />
          </button>
          <button
            type="button"
            aria-pressed={withSegments}
            onClick={switchSegments}
            title="Show segments (s)"
          >
            <ToolName name="Segments" sign="▤" />
          </button>
          {withProxies && (
            <button
              type="button"
              aria-pressed={hopsOpen}
              onClick={() => setHopsOpen(!hopsOpen)}
              title="Hops of the mesh (h)"
            >
              <ToolName name="Hops" sign="⇄" />
            </button>
          )}
          {withProxies && (
            <button
              type="button"
              aria-pressed={folded}
              onClick={switchFold}
              title="Show proxies as parts of their applications (f)"
            >
              <ToolName name="Fold proxies" sign="⊂" />
            </button>
          )}
          <button
            type="button"
            onClick={() => setHelp(true)}
            aria-label="Keyboard shortcuts"
            title="Shortcuts (?)"
          >
            ?
          </button>
        </span>
      </div>
      {missing !== null && <MissingSpan id={missing} trace={trace} onClose={() => setMissing(null)} />}
      {outliers.rows.length > 0 && (
        <OutlierNotice
          trace={trace}
          tree={tree}
          outliers={outliers}
          onGoTo={goTo}
          onShowAll={() => setView({ from: 0, to: duration })}
        />
      )}
      {hopsOpen && <Hops traceId={trace.id} isShown={(id) => rowOfSpan(id) >= 0} onSpan={goToSpan} />}
      <TraceLogs trace={trace} />
      <Minimap tree={tree} colours={colours} bounds={home} view={view} onView={setView} />
      <div className={styles.traceBody}>
        <Waterfall
          ref={waterfall}
          tree={tree}
          visible={visible}
          collapsed={collapsed}
          colours={colours}
          matches={find.set}
          view={view}
          active={active}
          detailOpen={detailOpen}
          onActive={setActive}
          onToggle={toggle}
          onOpen={open}
        />
        {detailOpen && tree.rows[active] && (
          <DetailPanel
            trace={trace}
            tree={tree}
            index={active}
            colours={colours}
            onClose={closeDetail}
            onGoTo={goTo}
          />
        )}
      </div>
      {help && <Shortcuts onClose={() => setHelp(false)} />}
    </div>
  );
}

function startView(home: View, duration: number, asked: Row | undefined): View {
  return asked ? follow(home, duration, asked.start, asked.duration) : home;
}

/** The span in the address, if the trace does not have it. */
function missingSpan(tree: Tree, selection: Selection): string | null {
  const name = selection.span ?? selection.segment;
  return name !== undefined && rowOf(tree, selection) < 0 ? name : null;
}

function MissingSpan({ id, trace, onClose }: { id: string; trace: Trace; onClose: () => void }) {
  return (
    <div className={`notice notice-warning ${styles.traceNotice}`} role="alert">
      <span>
        <span aria-hidden="true">⚠ </span>
        Span <code>{id}</code> is not{" "}
        {trace.truncated
          ? "among the spans shown here: this trace is too large for one page."
          : "in this trace. It may not have arrived yet, or the address is misspelt."}
      </span>
      <button type="button" onClick={onClose}>
        Close
      </button>
    </div>
  );
}

interface OutlierProps {
  trace: Trace;
  tree: Tree;
  outliers: Outliers;
  onGoTo: (index: number) => void;
  onShowAll: () => void;
}

/** Tells which spans the timeline leaves out because they are hours to centuries away from the rest. */
function OutlierNotice({ trace, tree, outliers, onGoTo, onShowAll }: OutlierProps) {
  const { rows, home } = outliers;
  const first = rows[0] as number;
  const row = tree.rows[first] as Row;
  const ends = row.start >= home.from && row.start <= home.to;
  const at = BigInt(trace.startUnixNano) + BigInt(Math.round(ends ? row.start + row.duration : row.start));
  const verb = `${ends ? "end" : "start"}${rows.length === 1 ? "s" : ""}`;
  return (
    <div className={`notice notice-warning ${styles.traceNotice}`} role="status">
      <span>
        <span aria-hidden="true">⚠ </span>
        {plural(rows.length, "span")} {verb} far from the rest
        {rows.length === 1 ? ", at " : ", the first at "}
        {formatTime(String(at))}. The timeline shows where most spans lie.
      </span>
      <button type="button" onClick={() => onGoTo(first)}>
        Go there
      </button>
      <button type="button" onClick={onShowAll}>
        Show all time
      </button>
    </div>
  );
}

/** Find in trace. The texts of the rows are computed when the user first searches. */
function useFind(tree: Tree, trace: Trace, initial: string) {
  const [query, setQuery] = useState(initial);
  const looking = query.trim() !== "";
  const texts = useMemo(
    () => (looking ? tree.rows.map((row: Row) => rowText(row, trace)) : []),
    [tree, trace, looking],
  );
  const matches = useMemo(() => findRows(tree.rows, texts, query), [tree, texts, query]);
  const set = useMemo<ReadonlySet<number>>(() => new Set(matches), [matches]);
  return { query, setQuery, matches, set };
}

export type Find = ReturnType<typeof useFind>;

function ErrorJump({ tree, onMove }: { tree: Tree; onMove: (direction: 1 | -1) => void }) {
  const count = useMemo(() => tree.rows.filter((row) => row.span && row.failed).length, [tree]);
  if (count === 0) return null;
  return (
    <span className={styles.toolGroup}>
      <button type="button" onClick={() => onMove(1)} title="Next failed span (e)">
        <span className="error-count" aria-hidden="true">
          ▲
        </span>{" "}
        <span className={styles.toolName}>Next error</span> <span className="muted">{count}</span>
      </button>
    </span>
  );
}

/** The name of a tool, or its symbol alone on narrow screens. */
function ToolName({ name, sign }: { name: string; sign: string }) {
  return (
    <>
      <span className={styles.toolName}>{name}</span>
      <span className={styles.toolSign} aria-hidden="true">
        {sign}
      </span>
    </>
  );
}
