import { apiUrl } from "../api/client";
import type { StatusAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { nowMs } from "../lib/clock";
import type { TimeRange } from "../lib/time";
import { coveredSeconds } from "./aggregates";

/** The seconds of the range over which rates are computed; see `coveredSeconds`. */
export function useCoveredSeconds(range: TimeRange): number {
  const { data } = useApi<StatusAnswer>(apiUrl(["status"]), { keep: true });
  return coveredSeconds(range, data?.oldestUnixNano, nowMs());
}
