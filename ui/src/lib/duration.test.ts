import { describe, expect, it } from "vitest";
import { formatDuration, formatOffset, parseDuration, queryDuration } from "./duration";

describe("formatDuration", () => {
  it.each([
    [0, "0 ns"],
    [999, "999 ns"],
    [1_000, "1 µs"],
    [12_340, "12.3 µs"],
    [999_960, "1 ms"],
    [1_234_567, "1.23 ms"],
    [999_999_999, "1 s"],
    [45_600_000_000, "45.6 s"],
    [125_000_000_000, "2 m 5 s"],
    [7_200_000_000_000, "2 h"],
    [90_061_000_000_000, "1 d 1 h"],
    [-1_500_000, "-1.5 ms"],
  ])("writes %d ns as %s", (nano, text) => {
    expect(formatDuration(nano)).toBe(text);
  });

  it("shows no number for what is none", () => {
    expect(formatDuration(Number.NaN)).toBe("–");
  });
});

describe("formatOffset", () => {
  it.each([
    [5_000_000, "+5 ms"],
    [0, "+0 ns"],
    [-5_000_000, "-5 ms"],
  ])("writes %d ns as %s", (nano, text) => {
    expect(formatOffset(nano)).toBe(text);
  });
});

describe("parseDuration", () => {
  it.each([
    ["100ms", 100_000_000],
    [" 1.5 s ", 1_500_000_000],
    ["250us", 250_000],
    ["250µs", 250_000],
    ["2m", 120_000_000_000],
    [".5h", 1_800_000_000_000],
  ])("reads %s", (text, nano) => {
    expect(parseDuration(text)).toBe(nano);
  });

  it.each(["", "100", "ms", "-1s", "1 second", "1s2", "1e3ms"])("refuses %j", (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  it("writes what TraceQL reads", () => {
    expect(queryDuration(" 1.5 s")).toBe("1.5s");
    expect(queryDuration("3 µs")).toBe("3us");
  });
});
