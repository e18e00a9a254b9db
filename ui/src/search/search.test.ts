import { describe, expect, it } from "vitest";
import type { AggregatePoint, TraceSummary } from "../api/types";
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

const PLOT = { width: 800, height: 150, fromMs: 0, toMs: 900_000 };

describe("the scatter plot", () => {
  it("puts every mark inside the plot, early left of late, fast below slow", () => {
    const layout = layoutScatter([summary(1000, 1e6), summary(2000, 5e9), summary(3000, 20e6)], null, PLOT);
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

  it("has the range asked for as its axis, not the traces found", () => {
    const layout = layoutScatter([summary(897_000, 1e6), summary(899_000, 2e6)], null, PLOT);
    expect([layout.fromMs, layout.toMs]).toEqual([0, 900_000]);
    expect(layout.marks[0]?.x).toBeGreaterThan(760);
    expect(layout.xTicks.length).toBeGreaterThan(1);
  });

  it.each([
    ["one year ahead", 365 * 86_400_000],
    ["in 2262", 9_217_000_000_000],
  ])("keeps its axes beside a trace %s, which stands at the edge", (_, ms) => {
    const healthy = [summary(1000, 1e6), summary(2000, 5e9)];
    const before = layoutScatter(healthy, null, PLOT);
    const after = layoutScatter([...healthy, summary(ms, ms * 1e6)], null, PLOT);
    expect(after.marks.slice(0, 2)).toEqual(before.marks);
    expect(after.xTicks).toEqual(before.xTicks);
    expect(after.marks[2]).toMatchObject({ x: 800 - after.right, outside: "after" });
  });

  it("draws a single trace, and traces of no duration, and none", () => {
    for (const traces of [[summary(1000, 1e6)], [summary(1000, 0), summary(1000, 0)], []]) {
      const layout = layoutScatter(traces, null, PLOT);
      const positions = [...layout.marks, ...layout.yTicks.map(({ y }) => ({ x: 0, y }))];
      expect(positions.every((mark) => Number.isFinite(mark.x) && Number.isFinite(mark.y))).toBe(true);
    }
  });

  it("draws requests and errors of the whole range behind the marks", () => {
    const counts = (seconds: number, requestCount: number, errorCount: number) =>
      ({ timeUnixNano: `${seconds}000000000`, requestCount, errorCount }) as AggregatePoint;
    const points = [counts(0, 10, 5), counts(60, 20, 0), counts(86_400 * 365, 1_000_000, 0)];
    const { bars } = layoutScatter([], { stepMs: 60_000, points }, PLOT);
    expect(bars).toHaveLength(2);
    expect(bars[0]?.height).toBe((bars[1]?.height ?? 0) / 2);
    expect(bars[0]?.failedHeight).toBe((bars[0]?.height ?? 0) / 2);
    expect(bars[1]?.x).toBeGreaterThan((bars[0]?.x ?? 0) + (bars[0]?.width ?? 0));
  });

  it("finds the time under a position again", () => {
    const layout = layoutScatter([summary(1_000, 1e6), summary(11_000, 2e6)], null, PLOT);
    expect(timeAt(layout, layout.marks[1]?.x ?? 0)).toBeCloseTo(11_000);
    expect(timeAt(layout, -50)).toBe(layout.fromMs);
  });
});
