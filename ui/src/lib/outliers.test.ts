import { describe, expect, it } from "vitest";
import { ceilingOf, mainExtent } from "./outliers";

const YEAR = 365 * 86400e9;

describe("ceilingOf", () => {
  it("is the largest duration", () => {
    expect(ceilingOf([3e6, 1e6, 90e6])).toBe(90e6);
    expect(ceilingOf([1e6, 3000e9])).toBe(3000e9);
    expect(ceilingOf([])).toBe(1);
    expect(ceilingOf([0])).toBe(1);
    expect(ceilingOf([YEAR])).toBe(YEAR);
  });

  it("leaves out what a wrong clock made a year long", () => {
    expect(ceilingOf([3e6, 1e6, 90e6, YEAR])).toBe(90e6);
  });
});

describe("mainExtent", () => {
  const healthy = [
    { start: 0, duration: 200e6 },
    { start: 10e6, duration: 100e6 },
    { start: 20e6, duration: 0 },
  ];

  it("is all of a trace whose clocks agree", () => {
    expect(mainExtent(healthy)).toEqual({ from: 0, to: 200e6 });
    expect(mainExtent([...healthy, { start: 3000e9, duration: 5e6 }])?.to).toBe(3000e9 + 5e6);
    expect(mainExtent([])).toBeNull();
  });

  it("leaves out spans far ahead and far behind", () => {
    const shifted = healthy.map((span) => ({ ...span, start: span.start + YEAR }));
    expect(mainExtent([{ start: 0, duration: 8e6 }, ...shifted])).toEqual({ from: YEAR, to: YEAR + 200e6 });
    expect(mainExtent([...healthy, { start: 236 * YEAR, duration: 8e6 }])).toEqual({ from: 0, to: 200e6 });
  });

  it("leaves out an end that a wrong clock put a year after its start", () => {
    expect(mainExtent([...healthy, { start: 5e6, duration: YEAR }])).toEqual({ from: 0, to: 200e6 });
  });

  it("keeps a root that lasts much longer than its children", () => {
    expect(
      mainExtent([
        { start: 0, duration: 10 * 3600e9 },
        { start: 0, duration: 1800e9 },
      ])?.to,
    ).toBe(10 * 3600e9);
  });
});
