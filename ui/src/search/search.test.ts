import { describe, expect, it } from "vitest";
import type { TraceSummary } from "../api/types";
import { readSearch, searchPath, searchUrl, writeSearch } from "./params";
import { layoutScatter, timeAt } from "./scatterLayout";

describe("the search in the URL", () => {
  it("has defaults for all that is missing or wrong", () => {
    const defaults = { query: "{ }", range: { start: "now-1h" }, order: "newest", limit: 20 };
    expect(readSearch(new URLSearchParams())).toEqual(defaults);
    expect(readSearch(new URLSearchParams("order=random&limit=9999"))).toEqual(defaults);
  });

  it("comes back as it was written", () => {
    const search = {
      query: '{ name = "a b" }',
      range: { start: "1700000000000000000", end: "1700000001000000000" },
      order: "longest" as const,
      limit: 100,
    };
    const path = searchPath(search);
    expect(readSearch(new URLSearchParams(path.slice(2)))).toEqual(search);
  });

  it("is short when it says nothing special", () => {
    expect(searchPath({})).toBe("/");
    expect(
      Object.values(writeSearch(readSearch(new URLSearchParams()))).every((value) => value === undefined),
    ).toBe(true);
  });

  it("becomes the API's parameters", () => {
    expect(searchUrl(readSearch(new URLSearchParams()), "abc")).toBe(
      "api/v1/traces?q=%7B+%7D&start=now-1h&order=newest&limit=20&cursor=abc",
    );
  });
});

function summary(ms: number, durationNano: number): TraceSummary {
  return {
    id: `${ms}`,
    rootService: null,
    rootName: "",
    startUnixNano: `${ms}000000`,
    durationNano,
    spanCount: 1,
    errorCount: 0,
    status: "UNSET",
    errorCode: null,
    services: [],
    matchedSpanIds: [],
    matchedSpanCount: 0,
  };
}

describe("the scatter plot", () => {
  it("puts every mark inside the plot, early left of late, fast below slow", () => {
    const layout = layoutScatter([summary(1000, 1e6), summary(2000, 5e9), summary(3000, 20e6)], 800, 150);
    const [a, b, c] = layout.marks;
    for (const mark of layout.marks) {
      expect(mark.x).toBeGreaterThanOrEqual(layout.left);
      expect(mark.x).toBeLessThanOrEqual(800 - layout.right);
      expect(mark.y).toBeGreaterThanOrEqual(0);
      expect(mark.y).toBeLessThanOrEqual(150);
    }
    expect((a?.x ?? 0) < (b?.x ?? 0) && (b?.x ?? 0) < (c?.x ?? 0)).toBe(true);
    expect((b?.y ?? 0) < (c?.y ?? 0) && (c?.y ?? 0) < (a?.y ?? 0)).toBe(true);
  });

  it("draws a single trace, and traces of no duration", () => {
    for (const traces of [[summary(1000, 1e6)], [summary(1000, 0), summary(1000, 0)]]) {
      const layout = layoutScatter(traces, 800, 150);
      expect(layout.marks.every((mark) => Number.isFinite(mark.x) && Number.isFinite(mark.y))).toBe(true);
    }
  });

  it("finds the time under a position again", () => {
    const layout = layoutScatter([summary(1_000, 1e6), summary(11_000, 2e6)], 800, 150);
    expect(timeAt(layout, layout.marks[1]?.x ?? 0)).toBeCloseTo(11_000);
    expect(timeAt(layout, -50)).toBe(layout.fromMs);
  });
});
