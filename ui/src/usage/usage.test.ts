import { describe, expect, it } from "vitest";
import type { TenantUsage } from "../api/types";
import { formatBytes } from "../lib/numbers";
import { bars, MOST_BARS, measureNamed, measuresOf, serviceBars, tenantBars } from "./usage";

function usage(tenant: string, receivedBytes: number): TenantUsage {
  return {
    tenant,
    receivedSpans: 1,
    receivedBytes,
    refusedRequests: 0,
    questions: 2,
    refusedQuestions: 0,
    scannedSpans: 0,
    storedSpans: 1,
    storedBytes: 1,
    services: [
      { service: "cart", receivedSpans: 5, receivedBytes: 10 },
      { service: "shop", receivedSpans: 1, receivedBytes: 20 },
    ],
  };
}

describe("usage", () => {
  it("shows the largest first, each as a share of the longest bar", () => {
    const answer = { sinceUnixNano: "1", tenants: [usage("acme", 50), usage("shop", 200)] };
    expect(tenantBars(answer, "receivedBytes")).toEqual([
      { name: "shop", value: 200, share: 1 },
      { name: "acme", value: 50, share: 0.25 },
    ]);
    expect(tenantBars(answer, "scannedSpans").map(({ share }) => share)).toEqual([0, 0]);
    expect(serviceBars(usage("acme", 1)).map(({ name }) => name)).toEqual(["shop", "cart"]);
  });

  it("joins many into one bar that loses nothing", () => {
    const values = Array.from({ length: 100 }, (_, at) => ({ name: `t${at}`, value: at }));
    const shown = bars(values, "other tenants");
    expect(shown).toHaveLength(MOST_BARS);
    expect(shown.at(-1)?.name).toBe("89 other tenants");
    expect(shown.reduce((sum, { value }) => sum + value, 0)).toBe(4950);
    expect(Math.max(...shown.map(({ share }) => share))).toBe(1);
    expect(bars(values.slice(0, MOST_BARS), "other tenants")).toHaveLength(MOST_BARS);
  });

  it("has a measure for every name", () => {
    expect(measureNamed("storedBytes").title).toBe("Stored bytes");
    expect(measureNamed("nothing").measure).toBe("receivedBytes");
    expect(measureNamed(null).measure).toBe("receivedBytes");
    const stored = measuresOf(false);
    expect(stored.map(({ measure }) => measure)).toEqual(["storedBytes", "storedSpans"]);
    expect(measureNamed("questions", stored).measure).toBe("storedBytes");
  });

  it.each([
    [0, "0 B"],
    [999, "999 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1500, "1.46 KiB"],
    [150_000, "146 KiB"],
    [1_048_575, "1 MiB"],
    [3 * 1024 ** 4, "3 TiB"],
    [5000 * 1024 ** 4, "5000 TiB"],
  ])("tells %i bytes as %s", (bytes, text) => {
    expect(formatBytes(bytes)).toBe(text);
  });
});
