/** What the proxies of a service mesh saw: every call between workloads from both sides, and who got which share. */
import { apiUrl } from "../api/client";
import type { MeshEdgesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { RangePicker } from "../components/RangePicker";
import { Empty, Failure, Loading } from "../components/States";
import { useTitle } from "../components/useTitle";
import { nowMs } from "../lib/clock";
import { describeRange, resolveRange } from "../lib/time";
import { useRange } from "../services/useRange";
import { EdgeTable } from "./EdgeTable";
import { stepOf } from "./mesh";

export default function MeshPage() {
  useTitle("Mesh");
  const { range, setRange } = useRange();
  const step = stepOf(resolveRange(range, nowMs()));
  const url = apiUrl(["mesh", "edges"], { ...range, step });
  const { data, error, reload } = useApi<MeshEdgesAnswer>(url, { keep: true });
  return (
    <div className="page">
      <div className="page-head">
        <h1 className="page-title">Mesh</h1>
        <RangePicker range={range} onChange={setRange} />
      </div>
      {error ? (
        <Failure error={error} retry={reload} />
      ) : !data ? (
        <Loading label="Loading the mesh" />
      ) : data.edges.length === 0 ? (
        <Empty title="No proxy of a mesh has sent a span in this range">
          <p>
            Envoy's spans have the attribute component = proxy. Istio sends them once tracing is switched on.
          </p>
        </Empty>
      ) : (
        <>
          <EdgeTable edges={data.edges} />
          <p className="muted">
            The caller's proxy counts a request once, after all attempts; those of the callee count every
            attempt that reached them. Where the mesh samples, these are counts of samples.{" "}
            {describeRange(range)}.
            {data.partial &&
              ` Not everything was counted: ${data.partialReason ?? "parts could not be read"}.`}
          </p>
        </>
      )}
    </div>
  );
}
