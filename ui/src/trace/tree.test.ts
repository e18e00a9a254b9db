import { describe, expect, it } from "vitest";
import type { Segment, Span, Trace } from "../api/types";
import { findRows, parseTerms, rowText } from "./find";
import { gridAction, placeOf } from "./gridKeys";
import { buildTree, nextRow, type Row, reveal, selfIntervals, spanFailed, visibleRows } from "./tree";

function span(
  id: string,
  parentId: string | null,
  start: number,
  duration: number,
  part: Partial<Span> = {},
): Span {
  return {
    id,
    parentId,
    name: `name ${id}`,
    kind: "INTERNAL",
    startUnixNano: String(1000 + start),
    endUnixNano: String(1000 + start + duration),
    durationNano: duration,
    selfNano: 0,
    status: "UNSET",
    statusMessage: "",
    errorCode: null,
    resource: 0,
    scope: 0,
    attributes: [],
    events: [],
    links: [],
    flags: 0,
    traceState: "",
    warnings: [],
    ...part,
  };
}

function segment(service: string, parent: [string, string] | null, spans: Span[]): Segment {
  const first = spans[0] as Span;
  return {
    id: first.id,
    parentSegmentId: parent?.[0] ?? null,
    parentSpanId: parent?.[1] ?? null,
    service,
    instance: null,
    startUnixNano: first.startUnixNano,
    endUnixNano: first.endUnixNano,
    durationNano: first.durationNano,
    status: first.status,
    errorCode: null,
    spanCount: spans.length,
    errorCount: spans.filter(spanFailed).length,
    spans,
  };
}

function trace(segments: Segment[]): Trace {
  return {
    id: "1",
    startUnixNano: "1000",
    endUnixNano: "1100",
    durationNano: 100,
    status: "UNSET",
    errorCode: null,
    rootService: "a",
    rootName: "",
    spanCount: 0,
    logCount: 0,
    errorCount: 0,
    segmentCount: segments.length,
    services: [],
    warnings: [],
    resources: [
      {
        attributes: [{ key: "zone", value: { stringValue: "Nord" } }],
        schemaUrl: "",
        droppedAttributesCount: 0,
      },
    ],
    scopes: [{ name: "lib", version: "1", attributes: [], schemaUrl: "" }],
    segments,
    logs: [],
  };
}

/** a1 calls b1 in another service, then a2 locally; a2 calls c1, which fails. */
const SHOP = trace([
  segment("a", null, [span("a1", null, 0, 100), span("a2", "a1", 50, 40)]),
  segment("b", ["a1", "a1"], [span("b1", "a1", 10, 30, { kind: "SERVER" })]),
  segment("c", ["a1", "a2"], [span("c1", "a2", 60, 20, { status: "ERROR", statusMessage: "Out of Stock" })]),
]);

const shape = (rows: Row[]) =>
  rows.map((row) => `${" ".repeat(row.depth)}${row.span?.id ?? `[${row.segment.service}]`}`);

describe("buildTree", () => {
  it("nests segments below the span that called them, in start order", () => {
    expect(shape(buildTree(SHOP, true).rows)).toEqual([
      "[a]",
      " a1",
      "  [b]",
      "   b1",
      "  a2",
      "   [c]",
      "    c1",
    ]);
  });

  it("leaves segments out on demand", () => {
    expect(shape(buildTree(SHOP, false).rows)).toEqual(["a1", " b1", " a2", "  c1"]);
  });

  it("knows where subtrees end, who the parent is, and the place among siblings", () => {
    const rows = buildTree(SHOP, false).rows;
    expect(rows.map((row) => row.end)).toEqual([4, 2, 4, 4]);
    expect(rows.map((row) => row.parent)).toEqual([-1, 0, 0, 2]);
    expect(rows.map((row) => [row.position, row.siblings])).toEqual([
      [1, 1],
      [1, 2],
      [2, 2],
      [1, 1],
    ]);
  });

  it("keeps spans that share an ID, and orphans", () => {
    const odd = trace([
      segment("a", null, [
        span("x", null, 0, 10),
        span("y", "x", 1, 2),
        span("y", "x", 3, 2),
        span("z", "gone", 4, 1),
      ]),
      segment("b", ["nowhere", "x"], [span("w", "x", 5, 1)]),
    ]);
    expect(shape(buildTree(odd, false).rows)).toEqual(["x", " y", " y", "z", "w"]);
  });

  it("does not follow a span that claims to be its own ancestor", () => {
    const loop = trace([
      segment("a", null, [span("x", "y", 0, 10), span("y", "x", 1, 2), span("z", "z", 2, 2)]),
    ]);
    expect(shape(buildTree(loop, false).rows)).toEqual(["x", " y", "z"]);
  });

  it("survives a chain of 50,000", () => {
    const chain = Array.from({ length: 50_000 }, (_, i) => span(`s${i}`, i === 0 ? null : `s${i - 1}`, i, 1));
    const tree = buildTree(trace([segment("a", null, chain)]), true);
    expect(tree.maxDepth).toBe(50_000);
    expect(tree.rows[0]?.end).toBe(50_001);
  });
});

describe("spanFailed", () => {
  it.each([
    [{ status: "ERROR" as const }, true],
    [{ status: "UNSET" as const }, false],
    [{ attributes: [{ key: "error", value: { boolValue: true } }] }, true],
    [{ attributes: [{ key: "error", value: { stringValue: "true" } }] }, true],
    [{ attributes: [{ key: "error", value: { stringValue: "no" } }] }, false],
    [{ status: "OK" as const, attributes: [{ key: "error", value: { boolValue: true } }] }, false],
  ])("%j: %s", (part, failed) => {
    expect(spanFailed(span("x", null, 0, 1, part))).toBe(failed);
  });
});

describe("walking", () => {
  const tree = buildTree(SHOP, true);

  it("hides what is below a collapsed row", () => {
    expect(visibleRows(tree, new Set([2]))).toEqual([0, 1, 2, 4, 5, 6]);
    expect(visibleRows(tree, new Set([0]))).toEqual([0]);
  });

  it("reveals a row by opening its ancestors only", () => {
    expect([...reveal(tree, new Set([0, 2, 5]), 6)]).toEqual([2]);
    const same = new Set([2]);
    expect(reveal(tree, same, 6)).toBe(same);
  });

  it("finds the next failed span in both directions, around the end", () => {
    const failed = (row: Row) => row.span !== null && row.failed;
    expect(nextRow(tree, 0, 1, failed)).toBe(6);
    expect(nextRow(tree, 6, 1, failed)).toBe(6);
    expect(nextRow(tree, 0, -1, failed)).toBe(6);
    expect(nextRow(tree, 0, 1, () => false)).toBe(-1);
  });

  it("knows the time that belongs to a span alone", () => {
    expect(selfIntervals(tree, 1)).toEqual([
      [0, 10],
      [40, 50],
      [90, 100],
    ]);
    expect(selfIntervals(tree, 6)).toEqual([[0, 20]]);
  });

  it("clips children that reach beyond their parent", () => {
    const beyond = buildTree(
      trace([segment("a", null, [span("p", null, 10, 10), span("q", "p", 0, 15), span("r", "p", 18, 20)])]),
      false,
    );
    expect(selfIntervals(beyond, 0)).toEqual([[5, 8]]);
  });
});

describe("keys", () => {
  const tree = buildTree(SHOP, true);
  const at = (active: number, collapsed: number[] = []) => {
    const set = new Set(collapsed);
    const visible = visibleRows(tree, set);
    return { tree, visible, collapsed: set, active, position: placeOf(visible, active), page: 3 };
  };

  it.each([
    ["ArrowDown", at(1), { go: 2 }],
    ["ArrowDown", at(2, [2]), { go: 4 }],
    ["ArrowDown", at(6), { go: 6 }],
    ["ArrowUp", at(4, [2]), { go: 2 }],
    ["ArrowUp", at(0), { go: 0 }],
    ["ArrowRight", at(1), { go: 2 }],
    ["ArrowRight", at(2, [2]), { toggle: 2 }],
    ["ArrowRight", at(6), null],
    ["ArrowLeft", at(2), { toggle: 2 }],
    ["ArrowLeft", at(2, [2]), { go: 1 }],
    ["ArrowLeft", at(6), { go: 5 }],
    ["ArrowLeft", at(0, [0]), null],
    ["Home", at(5), { go: 0 }],
    ["End", at(0), { go: 6 }],
    ["PageDown", at(0), { go: 3 }],
    ["PageUp", at(6), { go: 3 }],
    ["Enter", at(3), { open: 3 }],
    ["x", at(3), null],
  ])("%s", (key, state, action) => {
    expect(gridAction(key, state)).toEqual(action);
  });

  it("place a hidden row at its nearest shown ancestor", () => {
    expect(placeOf([0, 1, 2, 4], 3)).toBe(2);
  });
});

describe("find", () => {
  const tree = buildTree(SHOP, true);
  const texts = tree.rows.map((row) => rowText(row, SHOP));
  const find = (query: string) =>
    findRows(tree.rows, texts, query).map((index) => tree.rows[index]?.span?.id);

  it.each([
    ["", []],
    ["name", ["a1", "b1", "a2", "c1"]],
    ["ZONE=nord b1", ["b1"]],
    ['"out of stock"', ["c1"]],
    ["name -out", ["a1", "b1", "a2"]],
    ["server", ["b1"]],
    ["nothing-like-it", []],
  ])("%j", (query, ids) => {
    expect(find(query)).toEqual(ids);
  });

  it("reads phrases and exclusions", () => {
    expect(parseTerms('a -"b c" "d')).toEqual([
      { text: "a", excluded: false },
      { text: "b c", excluded: true },
      { text: "d", excluded: false },
    ]);
  });
});
