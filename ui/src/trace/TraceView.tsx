/** The trace page once its trace is there: holds what is selected, open, found and zoomed. */
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useQuery } from "../address/address";
import type { Trace } from "../api/types";
import { useServiceColours } from "../components/useServiceColours";
import { DetailPanel } from "./DetailPanel";
import { FindBar } from "./FindBar";
import { findRows, rowText } from "./find";
import { Minimap } from "./Minimap";
import { Shortcuts } from "./Shortcuts";
import { TraceHeader } from "./TraceHeader";
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

  const asked = params.get("span");
  const [active, setActive] = useState(() => startRow(tree, asked));
  const [detailOpen, setDetailOpen] = useState(asked !== null);
  const [collapsed, setCollapsed] = useState(NONE);
  const [view, setView] = useState<View>({ from: 0, to: duration });
  const [help, setHelp] = useState(false);
  const waterfall = useRef<WaterfallHandle>(null);
  const findInput = useRef<HTMLInputElement>(null);

  const visible = useMemo(() => visibleRows(tree, collapsed), [tree, collapsed]);
  const find = useFind(tree, trace, params.get("find") ?? "");

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

  const activeSpan = tree.rows[active]?.span?.id;
  // The address follows the selection, once it rests: browsers refuse hundreds of changes a second.
  const written = useRef(asked);
  useEffect(() => {
    const span = detailOpen ? activeSpan : undefined;
    const timer = setTimeout(() => {
      written.current = span ?? null;
      set({ span }, { replace: true });
    }, ADDRESS_DELAY_MS);
    return () => clearTimeout(timer);
  }, [activeSpan, detailOpen, set]);
  // And the selection follows the address when a link changes it.
  useEffect(() => {
    if (asked === null || asked === written.current) return;
    written.current = asked;
    goTo(startRow(tree, asked));
    setDetailOpen(true);
  }, [asked, tree, goTo]);

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
    setActive(startRow(next, activeSpan ?? tree.rows[active]?.segment.id ?? null));
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
    "+": () => zoomBy(1 / ZOOM_STEP),
    "=": () => zoomBy(1 / ZOOM_STEP),
    "-": () => zoomBy(ZOOM_STEP),
    "0": () => setView({ from: 0, to: duration }),
    "?": () => setHelp(true),
    Escape: () => (detailOpen ? closeDetail() : setView({ from: 0, to: duration })),
  });

  return (
    <div className={detailOpen ? "trace-page with-detail" : "trace-page"}>
      <TraceHeader
        trace={trace}
        colours={colours}
        onService={find.setQuery}
        reload={reload}
        reloading={reloading}
      />
      <div className="trace-tools">
        <FindBar ref={findInput} find={find} active={active} onMove={goToMatch} />
        <ErrorJump tree={tree} onMove={goToError} />
        <span className="tool-group">
          <button type="button" onClick={() => setCollapsed(NONE)} title="Expand all ( ] )">
            Expand all
          </button>
          <button type="button" onClick={collapseAll} title="Collapse all ( [ )">
            Collapse all
          </button>
          <button
            type="button"
            aria-pressed={withSegments}
            onClick={switchSegments}
            title="Show segments (s)"
          >
            Segments
          </button>
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
      <Minimap tree={tree} colours={colours} duration={duration} view={view} onView={setView} />
      <div className="trace-body">
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
          onOpen={(index) => {
            setActive(index);
            setDetailOpen(true);
          }}
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

function startRow(tree: Tree, spanId: string | null): number {
  if (spanId === null) return 0;
  return Math.max(
    0,
    tree.rows.findIndex((row) => row.span?.id === spanId),
  );
}

/** Find in trace. The texts to look through are made when somebody first looks. */
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
    <span className="tool-group">
      <button type="button" onClick={() => onMove(1)} title="Next failed span (e)">
        <span className="error-count" aria-hidden="true">
          ▲
        </span>{" "}
        Next error <span className="muted">{count}</span>
      </button>
    </span>
  );
}
