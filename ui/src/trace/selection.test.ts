import { describe, expect, it } from "vitest";
import type { Trace } from "../api/types";
import { findOutliers } from "./outliers";
import { readSelection, rowOf, selectionOf } from "./selection";
import { buildTree } from "./tree";

const YEAR = 365 * 86400e9;

function span(id: string, start: number, duration: number) {
  const [startUnixNano, endUnixNano] = [String(BigInt(start)), String(BigInt(start + duration))];
  return {
    id,
    parentId: null,
    startUnixNano,
    endUnixNano,
    durationNano: duration,
    status: "UNSET",
    attributes: [],
  };
}

function tree(spans: ReturnType<typeof span>[], withSegments = true) {
  const segment = {
    id: "a",
    parentSegmentId: null,
    startUnixNano: "0",
    durationNano: 0,
    errorCount: 0,
    spans,
  };
  return buildTree({ startUnixNano: "0", segments: [segment] } as unknown as Trace, withSegments);
}

const TREE = tree([span("a", 0, 100e6), span("b", 10e6, 5e6)]);

describe("the selection in the address", () => {
  const read = (text: string) => readSelection(new URLSearchParams(text));

  it("is a span, or a segment with its first span", () => {
    expect(selectionOf(TREE, 2)).toEqual({ span: "b", segment: undefined });
    expect(selectionOf(TREE, 0)).toEqual({ span: "a", segment: "a" });
  });

  it("leads back to its row, with and without segments", () => {
    for (const index of TREE.rows.keys()) expect(rowOf(TREE, selectionOf(TREE, index))).toBe(index);
    expect(rowOf(tree([span("a", 0, 1)], false), read("span=a&segment=a"))).toBe(0);
  });

  it("is no row when there is none, or none of that name", () => {
    expect(rowOf(TREE, read(""))).toBe(-1);
    expect(rowOf(TREE, read("span=zz"))).toBe(-1);
  });
});

describe("outliers of a trace", () => {
  it("are none where clocks agree", () => {
    expect(findOutliers(TREE, 100e6)).toEqual({ home: { from: 0, to: 100e6 }, rows: [] });
  });

  it("are what starts or ends a year away, and leave the rest its time", () => {
    const torn = tree([span("a", 0, 100e6), span("b", 10e6, 5e6), span("c", YEAR, 5e6)]);
    const { home, rows } = findOutliers(torn, YEAR + 5e6);
    expect(home).toEqual({ from: 0, to: 100e6 });
    expect(rows.map((row) => torn.rows[row]?.span?.id)).toEqual(["c"]);
  });
});
