/** The time range of the services pages, in the URL. */
import { useMemo } from "react";
import { useQuery } from "../address/address";
import { DEFAULT_RANGE, type TimeRange } from "../lib/time";

export interface RangeInAddress {
  range: TimeRange;
  setRange: (range: TimeRange) => void;
  /** The range as parameters, for links that keep it. Empty for the default range. */
  query: Record<string, string | undefined>;
}

export function useRange(): RangeInAddress {
  const { params, set } = useQuery();
  const start = params.get("start") ?? DEFAULT_RANGE.start;
  const end = params.get("end") ?? undefined;
  return useMemo(() => {
    const range = end ? { start, end } : { start };
    return { range, setRange: (next) => set(rangeQuery(next)), query: rangeQuery(range) };
  }, [start, end, set]);
}

function rangeQuery({ start, end }: TimeRange): Record<string, string | undefined> {
  return { start: start === DEFAULT_RANGE.start && !end ? undefined : start, end };
}
