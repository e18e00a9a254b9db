import { describe, expect, it } from "vitest";
import {
  describeRange,
  formatAge,
  formatTimeExact,
  msToNano,
  nanoBetween,
  nanoToMs,
  parseTime,
  resolveRange,
  toLocalInput,
} from "./time";

const NOW = 1_700_000_000_000;

describe("parseTime", () => {
  it.each([
    ["now", NOW],
    ["now-90s", NOW - 90_000],
    ["now-1h", NOW - 3_600_000],
    ["now-7d", NOW - 7 * 86_400_000],
    ["1700000000", NOW],
    ["1700000000.25", NOW + 250],
    ["1700000000123456789", NOW + 123],
    ["2023-11-14T22:13:20Z", NOW],
  ])("reads %s", (text, ms) => {
    expect(parseTime(text, NOW)).toBe(ms);
  });

  it.each(["", "yesterday", "now-", "now+1h", "1700000000000"])("refuses %j", (text) => {
    expect(parseTime(text, NOW)).toBeNull();
  });
});

describe("ranges", () => {
  it("end at now unless they say otherwise", () => {
    expect(resolveRange({ start: "now-1h" }, NOW)).toEqual({ startMs: NOW - 3_600_000, endMs: NOW });
  });

  it("never are empty, so that nothing divides by zero", () => {
    const { startMs, endMs } = resolveRange({ start: "now", end: "now-1h" }, NOW);
    expect(endMs).toBeGreaterThan(startMs);
  });

  it("are named after their preset", () => {
    expect(describeRange({ start: "now-1h" })).toBe("Last hour");
    expect(describeRange({ start: "now-1h", end: "now-5m" })).toBe("now-1h – now-5m");
  });
});

describe("nanoseconds", () => {
  it("keep every digit", () => {
    expect(nanoBetween("1700000000000000001", "1700000000000000003")).toBe(2);
    expect(formatTimeExact("1700000000000000001")).toMatch(/\.000000001$/);
    expect(formatTimeExact("1700000000123456789")).toMatch(/\.123456789$/);
  });

  it("become milliseconds and back", () => {
    expect(nanoToMs("1700000000123999999")).toBe(NOW + 123);
    expect(msToNano(NOW + 123)).toBe("1700000000123000000");
  });

  it("reach far into past and future", () => {
    expect(nanoToMs("0")).toBe(0);
    expect(nanoToMs("18446744073709551615")).toBe(18_446_744_073_709);
  });
});

describe("formatAge", () => {
  it.each([
    [0, "just now"],
    [12, "12 s ago"],
    [125, "2 min ago"],
    [7_300, "2 h ago"],
    [200_000, "2 d ago"],
    [-5, "in 5 s"],
    [-365 * 86_400, "in 365 d"],
  ])("tells %d seconds as %s", (seconds, text) => {
    expect(formatAge(msToNano(NOW - seconds * 1000), NOW)).toBe(text);
  });
});

describe("toLocalInput", () => {
  it("is read back by Date as the same second", () => {
    expect(new Date(toLocalInput(NOW)).getTime()).toBe(NOW);
  });
});
