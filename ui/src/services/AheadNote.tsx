/** Lists services whose clocks are ahead: their requests start after now, the end of the range. */
import { useMemo } from "react";
import type { AggregatesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { LongText } from "../components/LongText";
import { nowMs } from "../lib/clock";
import { plural } from "../lib/numbers";
import { formatMs, type TimeRange } from "../lib/time";
import { aheadOf, aheadUrl } from "./aggregates";

const MOST_SHOWN = 5;

export function AheadNote({ range, service }: { range: TimeRange; service?: string }) {
  const url = useMemo(() => aheadUrl(range, nowMs(), { service }), [range, service]);
  const { data } = useApi<AggregatesAnswer>(url);
  const ahead = useMemo(() => (url && data ? aheadOf(data.series, nowMs()) : []), [url, data]);
  if (ahead.length === 0) return null;
  return (
    <div className="notice notice-warning" role="status">
      <p>
        <span aria-hidden="true">⚠ </span>
        Requests that start in the future are left out of the figures: the clock of their sender goes ahead.
      </p>
      <ul>
        {ahead.slice(0, MOST_SHOWN).map(({ service, requestCount, afterMs }) => (
          <li key={service}>
            <LongText text={service} />: {plural(requestCount, "request")}{" "}
            {requestCount === 1 ? "starts" : "start"} after {formatMs(afterMs, false)}
          </li>
        ))}
        {ahead.length > MOST_SHOWN && <li>and {plural(ahead.length - MOST_SHOWN, "more service")}</li>}
      </ul>
    </div>
  );
}
