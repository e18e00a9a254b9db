import { describe, expect, it } from "vitest";
import type { KeyValue, Span } from "../api/types";
import { readSearch } from "../search/params";
import { rangeAround, similarPath } from "./similar";

const NOW = 1_700_000_000_000;
const HOUR = 3_600_000_000_000n;
const FIVE_HOURS_AGO = (BigInt(NOW) * 1_000_000n - 5n * HOUR).toString();

describe("rangeAround", () => {
  it("holds the time, however old", () => {
    const { start, end } = rangeAround(FIVE_HOURS_AGO, NOW);
    expect(BigInt(end ?? 0) - BigInt(FIVE_HOURS_AGO)).toBe(HOUR / 2n);
    expect(BigInt(FIVE_HOURS_AGO) - BigInt(start)).toBe(HOUR / 2n);
  });

  it("ends now for what has just been, and after what is ahead", () => {
    const recent = ((BigInt(NOW) - 1000n) * 1_000_000n).toString();
    expect(rangeAround(recent, NOW).end).toBe(`${NOW}000000`);
    expect(rangeAround("1800000000000000000", NOW).end).toBe("1800001800000000000");
  });

  it("is written as nanoseconds near 1970, too", () => {
    expect(rangeAround("5", NOW)).toEqual({ start: "0".repeat(18), end: "000001800000000005" });
  });
});

describe("similarPath", () => {
  const span = { startUnixNano: FIVE_HOURS_AGO } as Span;
  const resource = [{ key: "service.name", value: { stringValue: "cart" } }];
  const search = (entry: KeyValue, scope: "span" | "resource", failed: boolean) => {
    const path = similarPath({ span, failed, resource }, entry, scope, NOW);
    return path && readSearch(new URL(path, "http://here").searchParams);
  };

  it("keeps service, failure and time", () => {
    const entry = { key: "user.id", value: { stringValue: "u 1" } };
    expect(search(entry, "span", true)).toMatchObject({
      query: '{ resource.service.name = "cart" && span.user.id = "u 1" && failed = true }',
      range: rangeAround(FIVE_HOURS_AGO, NOW),
    });
  });

  it("names the service once", () => {
    expect(search(resource[0] as KeyValue, "resource", false)).toMatchObject({
      query: '{ resource.service.name = "cart" }',
    });
  });

  it("is none for what the form cannot say", () => {
    expect(search({ key: "a", value: { doubleValue: 0.1 } }, "span", false)).toBeNull();
    expect(search({ key: "a", value: { stringValue: "x".repeat(300) } }, "span", false)).toBeNull();
  });
});
