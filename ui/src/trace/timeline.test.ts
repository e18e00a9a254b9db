import { describe, expect, it } from "vitest";
import { between, follow, place, scrollTo, shift, tickStep, ticks, windowOf, zoom } from "./timeline";

const WHOLE = { from: 0, to: 1000 };

describe("place", () => {
  it("is in percent of the view", () => {
    expect(place(WHOLE, 250, 500)).toEqual({ left: 25, width: 50, visible: true });
    expect(place({ from: 200, to: 400 }, 100, 200)).toEqual({ left: 0, width: 50, visible: true });
  });

  it("knows what is out of sight", () => {
    expect(place({ from: 200, to: 400 }, 0, 100).visible).toBe(false);
    expect(place({ from: 200, to: 400 }, 500, 100).visible).toBe(false);
  });
});

describe("ticks", () => {
  it.each([
    [1, 1],
    [3, 5],
    [1_100, 2_000],
    [0.4e9, 0.5e9],
    [0.7e9, 1e9],
    [7e9, 10e9],
    [40e9, 60e9],
    [100e9, 120e9],
    [50_000e9, 86_400e9],
    [100_000e9, 172_800e9],
  ])("of at least %d ns stand %d ns apart", (least, step) => {
    expect(tickStep(least)).toBe(step);
  });

  it("are round and inside the view", () => {
    expect(ticks({ from: 150, to: 950 }, 4)).toEqual([200, 400, 600, 800]);
  });
});

describe("zoom", () => {
  it("keeps the point under it in its place", () => {
    const view = zoom(WHOLE, 1000, 250, 0.5);
    expect(view).toEqual({ from: 125, to: 625 });
    expect((250 - view.from) / (view.to - view.from)).toBe(0.25);
  });

  it("stays inside the trace", () => {
    expect(zoom({ from: 0, to: 400 }, 1000, 0, 4)).toEqual(WHOLE);
    expect(zoom({ from: 900, to: 1000 }, 1000, 1000, 2)).toEqual({ from: 800, to: 1000 });
    expect(shift({ from: 0, to: 400 }, 1000, 5000)).toEqual({ from: 600, to: 1000 });
  });

  it("stops before the view is empty", () => {
    const view = zoom({ from: 0, to: 200 }, 1000, 100, 0.001);
    expect(view.to - view.from).toBe(100);
  });
});

describe("follow", () => {
  it("brings what is out of sight into the middle", () => {
    expect(follow({ from: 0, to: 100 }, 1000, 500, 20)).toEqual({ from: 460, to: 560 });
  });

  it("leaves the view alone when something of it is in sight", () => {
    const view = { from: 100, to: 200 };
    expect(follow(view, 1000, 0, 1000)).toBe(view);
  });
});

describe("between", () => {
  it("takes both directions", () => {
    expect(between(800, 200, WHOLE)).toEqual({ from: 200, to: 800 });
  });

  it("takes a click for no selection", () => {
    expect(between(500, 500.5, WHOLE)).toBeNull();
  });
});

describe("windowOf", () => {
  it("covers what is in sight and some more", () => {
    expect(windowOf(2600, 520, 26, 20_000, 8)).toEqual({ first: 92, last: 128 });
  });

  it("stays inside the list", () => {
    expect(windowOf(0, 520, 26, 5)).toEqual({ first: 0, last: 5 });
    expect(windowOf(10_000, 520, 26, 5)).toEqual({ first: 5, last: 5 });
  });
});

describe("scrollTo", () => {
  it("leaves a visible row where it is", () => {
    expect(scrollTo(100, 200, 20, 7)).toBe(100);
  });

  it("moves by a row at the edges", () => {
    expect(scrollTo(100, 200, 20, 4)).toBe(80);
    expect(scrollTo(100, 200, 20, 15)).toBe(120);
  });

  it("puts a far row in the middle", () => {
    expect(scrollTo(0, 200, 20, 100)).toBe(1910);
    expect(scrollTo(5000, 200, 20, 2)).toBe(0);
  });
});
