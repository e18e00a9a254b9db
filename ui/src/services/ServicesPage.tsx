/** All services with the rate, the errors and the latency of their requests. */
import { useMemo } from "react";
import { useQuery } from "../address/address";
import { Link } from "../address/Link";
import { servicePath } from "../address/routes";
import { apiUrl } from "../api/client";
import type { AggregatesAnswer, ServicesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { RangePicker } from "../components/RangePicker";
import { ServiceName } from "../components/Service";
import { Empty, Failure, Loading } from "../components/States";
import { useServiceColours } from "../components/useServiceColours";
import { useTitle } from "../components/useTitle";
import { nowMs } from "../lib/clock";
import { describeRange, type TimeRange } from "../lib/time";
import { quote } from "../lib/traceql";
import { searchPath } from "../search/params";
import { AheadNote } from "./AheadNote";
import { aggregatesUrl, chartData, chartStep, totals, WHOLE_RANGE } from "./aggregates";
import { type RedRow, RedTable } from "./RedTable";
import { useCoveredSeconds } from "./useCoveredSeconds";
import { useRange } from "./useRange";

export default function ServicesPage() {
  useTitle("Services");
  const colours = useServiceColours();
  const { range, setRange, query } = useRange();
  const { params, set } = useQuery();
  const fold = params.get("fold") === "mesh" ? "mesh" : undefined;
  const { step, now } = useMemo(() => measure(range), [range]);
  const seconds = useCoveredSeconds(range);
  const services = useApi<ServicesAnswer>(apiUrl(["services"]));
  const whole = useApi<AggregatesAnswer>(aggregatesUrl(range, "service", WHOLE_RANGE, { fold }), {
    keep: true,
  });
  const overTime = useApi<AggregatesAnswer>(aggregatesUrl(range, "service", step, { fold }), { keep: true });

  const rows = useMemo<RedRow[]>(() => {
    const byName = new Map(whole.data?.series.map((series) => [series.labels.service ?? "", series]));
    const trends = new Map(overTime.data?.series.map((series) => [series.labels.service ?? "", series]));
    const stored = fold ? [] : (services.data?.services.map((service) => service.name) ?? []);
    const names = new Set([...stored, ...byName.keys()]);
    return [...names].map((name) => {
      const trend = trends.get(name);
      return {
        key: name,
        name: fold ? (
          <Link to={workloadPath(name, range)} title={`Traces with a request to ${name}`}>
            <ServiceName name={name} colour={colours.get(name)} />
          </Link>
        ) : (
          <Link to={servicePath(name, query)} title={name}>
            <ServiceName name={name} colour={colours.get(name)} />
          </Link>
        ),
        totals: byName.has(name) ? totals(byName.get(name)?.points ?? []) : null,
        trend: trend && chartData([trend], step, range, now).rate,
      };
    });
  }, [services.data, whole.data, overTime.data, range, step, now, query, colours, fold]);

  const error = services.error ?? whole.error;
  return (
    <div className="page">
      <div className="page-head">
        <h1 className="page-title">{fold ? "Workloads" : "Services"}</h1>
        <button
          type="button"
          aria-pressed={fold !== undefined}
          onClick={() => set({ fold: fold ? undefined : "mesh" })}
          title="Count a request once that proxies of a mesh and their applications saw"
        >
          Fold proxies
        </button>
        <RangePicker range={range} onChange={setRange} />
      </div>
      {error ? (
        <Failure
          error={error}
          retry={() => {
            services.reload();
            whole.reload();
          }}
        />
      ) : !services.data || !whole.data ? (
        <Loading label="Loading services" />
      ) : rows.length === 0 ? (
        <Empty title="No service has sent a span yet">
          <p>
            <Link to="/">The start page</Link> shows where to send them.
          </p>
        </Empty>
      ) : (
        <>
          <AheadNote range={range} />
          <RedTable
            caption={fold ? "Workloads" : "Services"}
            nameLabel={fold ? "Workload" : "Service"}
            rows={rows}
            rangeSeconds={seconds}
            withTrend
          />
          <p className="muted">
            {fold
              ? "A request counts once, as the proxy of its workload saw it, or else the application."
              : "A request is a span of kind server or consumer, or one without a parent."}{" "}
            Rates count from the first stored span on. {describeRange(range)}.
            {whole.data.estimated && " Estimated: some traces were sampled."}
          </p>
        </>
      )}
    </div>
  );
}

/** A workload has no page of its own, because its spans are stored under several names; a search finds them all. */
function workloadPath(name: string, range: TimeRange): string {
  // Where workloads of several namespaces have the same name, the namespace stands behind a dot.
  const dot = name.lastIndexOf(".");
  const inNamespace =
    dot > 0
      ? ` || (mesh.workload = ${quote(name.slice(0, dot))} && mesh.namespace = ${quote(name.slice(dot + 1))})`
      : "";
  return searchPath({ query: `{ mesh.request && (mesh.workload = ${quote(name)}${inNamespace}) }`, range });
}

function measure(range: TimeRange) {
  const now = nowMs();
  return { step: chartStep(range, now), now };
}
