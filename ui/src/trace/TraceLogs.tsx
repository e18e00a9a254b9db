/** Logs of spans that are not in the trace, which have no place in the waterfall. */
import type { SpanEvent, Trace } from "../api/types";
import { plural } from "../lib/numbers";
import { Happenings } from "./Happenings";
import styles from "./TraceLogs.module.css";

export function TraceLogs({ trace }: { trace: Trace }) {
  const logs = trace.logs.filter((log): log is SpanEvent => log !== null);
  if (logs.length === 0) return null;
  return (
    <details className={styles.traceLogs} open={trace.segments.length === 0}>
      <summary>{plural(logs.length, "log")} of spans that are not in this trace, or not yet</summary>
      <Happenings trace={trace} events={logs} />
    </details>
  );
}
