/** The search for traces like a span: same service, same outcome, one attribute in common, around its time. */
import type { KeyValue, Span, UnixNano } from "../api/types";
import { attributeText, valueText, valueType } from "../lib/attributes";
import { msToNano, type TimeRange } from "../lib/time";
import { queryFor, quote } from "../lib/traceql";
import { searchPath } from "../search/params";

const AROUND_NANO = 30n * 60n * 1_000_000_000n;
/** Longer values make addresses that servers may refuse. */
const LONGEST_VALUE = 200;

export interface SimilarTo {
  span: Span;
  failed: boolean;
  /** The attributes of the span's resource. */
  resource: readonly KeyValue[];
}

/** Null if the search form cannot express the value. */
export function similarPath(
  { span, failed, resource }: SimilarTo,
  entry: KeyValue,
  scope: "span" | "resource",
  nowMs: number,
): string | null {
  const type = valueType(entry.value);
  const text = valueText(entry.value);
  if (!["string", "int", "bool"].includes(type) || text.length > LONGEST_VALUE) return null;
  const service = attributeText(resource, "service.name") ?? "";
  const name = `${scope}.${entry.key}`;
  const key = /[\s="]/.test(entry.key) ? quote(name) : name;
  const isService = scope === "resource" && entry.key === "service.name";
  const attributes = isService ? "" : `${key}=${type === "string" ? quote(text) : text}`;
  return searchPath({
    query: queryFor({ service, attributes, failed }),
    range: rangeAround(span.startUnixNano, nowMs),
  });
}

/** Half an hour to both sides, but up to now at the latest unless the time itself is later. */
export function rangeAround(time: UnixNano, nowMs: number): TimeRange {
  const at = BigInt(time);
  const now = BigInt(msToNano(nowMs));
  const start = at > AROUND_NANO ? at - AROUND_NANO : 0n;
  const after = at + AROUND_NANO;
  const end = at < now && after > now ? now : after;
  return { start: apiNano(start), end: apiNano(end) };
}

/** The API reads numbers of 18 digits and more as nanoseconds; shorter ones would be seconds. */
function apiNano(nano: bigint): string {
  return nano.toString().padStart(18, "0");
}
