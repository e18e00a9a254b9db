/** The time range of the services pages, in the URL. */
import { useMemo } from "react";
import { useQueryString } from "../components/useQueryString";
import { DEFAULT_RANGE, type TimeRange } from "../lib/time";

export function useRange(): [TimeRange, (range: TimeRange) => void, string] {
  const { params, set } = useQueryString();
  const start = params.get("start") ?? DEFAULT_RANGE.start;
  const end = params.get("end") ?? undefined;
  const range = useMemo<TimeRange>(() => (end ? { start, end } : { start }), [start, end]);
  const query = new URLSearchParams();
  if (start !== DEFAULT_RANGE.start || end) query.set("start", start);
  if (end) query.set("end", end);
  const suffix = query.toString() ? `?${query}` : "";
  return [
    range,
    (next) =>
      set({ start: next.start === DEFAULT_RANGE.start && !next.end ? undefined : next.start, end: next.end }),
    suffix,
  ];
}
