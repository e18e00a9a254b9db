/** Which figures of usage there are, and how tenants and services are ordered by them. */
import type { TenantUsage, UsageAnswer } from "../api/types";
import { formatBytes, formatCount } from "../lib/numbers";

export type Measure = Exclude<keyof TenantUsage, "tenant" | "services">;

export interface MeasureText {
  measure: Measure;
  title: string;
  format: (value: number) => string;
}

const MEASURES: readonly MeasureText[] = [
  { measure: "receivedBytes", title: "Received bytes", format: formatBytes },
  { measure: "receivedSpans", title: "Received spans", format: formatCount },
  { measure: "refusedRequests", title: "Refused requests", format: formatCount },
  { measure: "questions", title: "Questions", format: formatCount },
  { measure: "refusedQuestions", title: "Refused questions", format: formatCount },
  { measure: "scannedSpans", title: "Scanned spans", format: formatCount },
  { measure: "storedBytes", title: "Stored bytes", format: formatBytes },
  { measure: "storedSpans", title: "Stored spans", format: formatCount },
];

const STORED: readonly Measure[] = ["storedBytes", "storedSpans"];

/** The figures that a server has: where it does not keep tenants apart, it counts only what is stored. */
export function measuresOf(multitenancy: boolean): readonly MeasureText[] {
  return multitenancy ? MEASURES : MEASURES.filter(({ measure }) => STORED.includes(measure));
}

export function measureNamed(name: string | null, measures = MEASURES): MeasureText {
  return (measures.find(({ measure }) => measure === name) ?? measures[0]) as MeasureText;
}

export interface Bar {
  name: string;
  value: number;
  /** Of the longest bar, from 0 to 1. */
  share: number;
}

/** More bars are one, of what is left. */
export const MOST_BARS = 12;

/** The largest first; the rest of many is one bar at the end. */
export function bars(values: readonly { name: string; value: number }[], rest: string): Bar[] {
  const sorted = [...values].sort((a, b) => b.value - a.value || a.name.localeCompare(b.name));
  const shown = sorted.length > MOST_BARS ? sorted.slice(0, MOST_BARS - 1) : sorted;
  const left = sorted.slice(shown.length);
  if (left.length > 0) {
    const value = left.reduce((sum, bar) => sum + bar.value, 0);
    shown.push({ name: `${left.length} ${rest}`, value });
  }
  const most = Math.max(...shown.map(({ value }) => value), 1);
  return shown.map(({ name, value }) => ({ name, value, share: value / most }));
}

export function tenantBars({ tenants }: UsageAnswer, measure: Measure): Bar[] {
  return bars(
    tenants.map((usage) => ({ name: usage.tenant, value: usage[measure] })),
    "other tenants",
  );
}

/** Services by bytes. The server counts those beyond its limit together, without a name. */
export function serviceBars({ services }: TenantUsage): Bar[] {
  return bars(
    services.map(({ service, receivedBytes }) => ({
      name: service || "services that are not counted one by one",
      value: receivedBytes,
    })),
    "other services",
  );
}
