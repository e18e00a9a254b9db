/**
 * A trace as one flat list of rows in tree order, with the end of each subtree. Showing, hiding and walking rows are
 * loops over numbers, which keeps 20,000 spans smooth. No pixels (see `timeline.ts`) and no React.
 */
import type { Segment, Span, Trace } from "../api/types";
import { nanoBetween } from "../lib/time";

export interface Row {
  segment: Segment;
  /** Null on the row of the segment itself. */
  span: Span | null;
  depth: number;
  /** Index of the parent row, -1 at the top. */
  parent: number;
  /** The index after the last row of this subtree. */
  end: number;
  /** Nanoseconds from the start of the trace. */
  start: number;
  duration: number;
  failed: boolean;
  /** 1-based position among its siblings, and their number. */
  position: number;
  siblings: number;
}

export interface Tree {
  rows: Row[];
  maxDepth: number;
}

interface Node {
  segment: Segment;
  span: Span | null;
  children: Node[];
}

/** `withSegments` adds a row above the spans of each segment; without it the rows are spans only. */
export function buildTree(trace: Trace, withSegments: boolean): Tree {
  return flatten(linkNodes(trace, withSegments), trace);
}

/**
 * A parent counts only if it is listed before its child. The API lists spans in tree order, so nothing is lost, and no
 * response can make a cycle here.
 */
function linkNodes(trace: Trace, withSegments: boolean): Node[] {
  const top: Node[] = [];
  const spanNodes = new Map<string, Map<string, Node>>();
  const segmentNodes = new Map<string, Node>();
  for (const segment of trace.segments) {
    const above = segment.parentSegmentId;
    const outer =
      above === null
        ? undefined
        : (spanNodes.get(above)?.get(segment.parentSpanId ?? "") ?? segmentNodes.get(above));
    let home = outer?.children ?? top;
    if (withSegments) {
      const node: Node = { segment, span: null, children: [] };
      segmentNodes.set(segment.id, node);
      home.push(node);
      home = node.children;
    }
    const known = new Map<string, Node>();
    spanNodes.set(segment.id, known);
    for (const span of segment.spans) {
      const node: Node = { segment, span, children: [] };
      const parent = span.parentId === null ? undefined : known.get(span.parentId);
      (parent?.children ?? home).push(node);
      if (!known.has(span.id)) known.set(span.id, node);
    }
  }
  return top;
}

function flatten(top: Node[], trace: Trace): Tree {
  const rows: Row[] = [];
  let maxDepth = 0;
  // An explicit stack, because a chain of 20,000 spans would overflow the call stack.
  const stack: { nodes: Node[]; next: number; parent: number }[] = [{ nodes: top, next: 0, parent: -1 }];
  sortByStart(top);
  while (stack.length > 0) {
    const frame = stack[stack.length - 1] as (typeof stack)[number];
    const node = frame.nodes[frame.next];
    if (!node) {
      stack.pop();
      const owner = rows[frame.parent];
      if (owner) owner.end = rows.length;
      continue;
    }
    frame.next += 1;
    const depth = stack.length - 1;
    maxDepth = Math.max(maxDepth, depth);
    const timed = node.span ?? node.segment;
    rows.push({
      segment: node.segment,
      span: node.span,
      depth,
      parent: frame.parent,
      end: rows.length + 1,
      start: nanoBetween(trace.startUnixNano, timed.startUnixNano),
      duration: timed.durationNano,
      failed: node.span ? spanFailed(node.span) : node.segment.errorCount > 0,
      position: frame.next,
      siblings: frame.nodes.length,
    });
    if (node.children.length > 0) {
      sortByStart(node.children);
      stack.push({ nodes: node.children, next: 0, parent: rows.length - 1 });
    }
  }
  return { rows, maxDepth };
}

function sortByStart(nodes: Node[]) {
  if (nodes.length < 2) return;
  nodes.sort((a, b) => {
    const left = BigInt((a.span ?? a.segment).startUnixNano);
    const right = BigInt((b.span ?? b.segment).startUnixNano);
    return left < right ? -1 : left > right ? 1 : 0;
  });
}

/** Failed as the API defines it: status ERROR, or UNSET with attribute `error` true. */
export function spanFailed(span: Span): boolean {
  if (span.status !== "UNSET") return span.status === "ERROR";
  return span.attributes.some(
    ({ key, value }) => key === "error" && (value?.boolValue === true || value?.stringValue === "true"),
  );
}

/** Indexes of the rows that no collapsed ancestor hides. */
export function visibleRows(tree: Tree, collapsed: ReadonlySet<number>): number[] {
  const visible: number[] = [];
  for (let at = 0; at < tree.rows.length; ) {
    visible.push(at);
    at = collapsed.has(at) ? (tree.rows[at] as Row).end : at + 1;
  }
  return visible;
}

export function hasChildren(row: Row, index: number): boolean {
  return row.end > index + 1;
}

/** `collapsed` without the ancestors of `index`, so that the row can be seen. */
export function reveal(tree: Tree, collapsed: ReadonlySet<number>, index: number): ReadonlySet<number> {
  const open = new Set(collapsed);
  for (let at = tree.rows[index]?.parent ?? -1; at >= 0; at = tree.rows[at]?.parent ?? -1) open.delete(at);
  return open.size === collapsed.size ? collapsed : open;
}

/** The next row after `from` that satisfies `test`, wrapping around; -1 if there is none. */
export function nextRow(
  tree: Tree,
  from: number,
  direction: 1 | -1,
  test: (row: Row, index: number) => boolean,
): number {
  const count = tree.rows.length;
  for (let step = 1; step <= count; step++) {
    const at = (((from + direction * step) % count) + count) % count;
    if (test(tree.rows[at] as Row, at)) return at;
  }
  return -1;
}

/** The parts of a row's interval that none of its children covers, in nanoseconds from its start. */
export function selfIntervals(tree: Tree, index: number): [number, number][] {
  const row = tree.rows[index] as Row;
  const covered: [number, number][] = [];
  for (let at = index + 1; at < row.end; at = (tree.rows[at] as Row).end) {
    const child = tree.rows[at] as Row;
    covered.push([child.start - row.start, child.start - row.start + child.duration]);
  }
  covered.sort((a, b) => a[0] - b[0]);
  const free: [number, number][] = [];
  let reached = 0;
  for (const [from, to] of covered) {
    if (from > reached) free.push([reached, Math.min(from, row.duration)]);
    reached = Math.max(reached, to);
    if (reached >= row.duration) break;
  }
  if (reached < row.duration) free.push([reached, row.duration]);
  return free.filter(([from, to]) => to > from);
}
