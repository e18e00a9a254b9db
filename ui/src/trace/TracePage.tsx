/** Loads a trace by its ID, and explains a failure. */
import { useQuery } from "../address/address";
import { Link } from "../address/Link";
import { ApiError, apiUrl } from "../api/client";
import type { TraceAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { Failure, Loading } from "../components/States";
import { useTitle } from "../components/useTitle";
import { parseTraceId, shortId } from "../lib/ids";
import { TraceView } from "./TraceView";

const BAD_ID = new ApiError(400, "Not a trace ID", "A trace ID is 1 to 32 hexadecimal digits, not all zero.");

export function TracePage({ id }: { id: string }) {
  const traceId = parseTraceId(id);
  const fold = useQuery().params.get("fold") === "mesh" ? "mesh" : undefined;
  const { data, error, loading, reload } = useApi<TraceAnswer>(
    traceId ? apiUrl(["traces", traceId], { fold }) : null,
  );
  const trace = data?.trace;
  useTitle(
    trace ? `${trace.rootService ?? "unknown_service"} ${trace.rootName}` : `Trace ${shortId(traceId ?? id)}`,
  );
  if (trace) {
    // A reload with more spans resets the view; the address keeps the selection.
    const version = `${trace.spanCount} ${trace.endUnixNano}`;
    return <TraceView key={version} trace={trace} reload={reload} reloading={loading} />;
  }
  if (traceId && !error) return <Loading label="Loading trace" />;
  return (
    <div className="page">
      <h1 className="page-title">
        Trace <code>{traceId ?? id}</code>
      </h1>
      <Failure error={error ?? BAD_ID} retry={traceId ? reload : undefined} />
      {error?.status === 404 && (
        <p className="muted">
          A trace that has only just started may still be on its way. <Link to="/">Search for traces</Link>
        </p>
      )}
    </div>
  );
}
