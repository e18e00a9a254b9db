/** All services with the rate, the errors and the latency of their requests. */
import { useMemo } from "react";
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
import { AheadNote } from "./AheadNote";
import { aggregatesUrl, chartData, chartStep, totals, WHOLE_RANGE } from "./aggregates";
import { type RedRow, RedTable } from "./RedTable";
import { useCoveredSeconds } from "./useCoveredSeconds";
import { useRange } from "./useRange";

export default function ServicesPage() {
  useTitle("Services");
  const colours = useServiceColours();
  const { range, setRange, query } = useRange();
  const { step, now } = useMemo(() => measure(range), [range]);
  const seconds = useCoveredSeconds(range);
  const services = useApi<ServicesAnswer>(apiUrl(["services"]));
  const whole = useApi<AggregatesAnswer>(aggregatesUrl(range, "service", WHOLE_RANGE), { keep: true });
  const overTime = useApi<AggregatesAnswer>(aggregatesUrl(range, "service", step), { keep: true });

  const rows = useMemo<RedRow[]>(() => {
    const byName = new Map(whole.data?.series.map((series) => [series.labels.service ?? "", series]));
    const trends = new Map(overTime.data?.series.map((series) => [series.labels.service ?? "", series]));
    const names = new Set([
      ...(services.data?.services.map((service) => service.name) ?? []),
      ...byName.keys(),
    ]);
    return [...names].map((name) => {
      const trend = trends.get(name);
      return {
        key: name,
        name: (
          <Link to={servicePath(name, query)} title={name}>
            <ServiceName name={name} colour={colours.get(name)} />
          </Link>
        ),
        totals: byName.has(name) ? totals(byName.get(name)?.points ?? []) : null,
        trend: trend && chartData([trend], step, range, now).rate,
      };
    });
  }, [services.data, whole.data, overTime.data, range, step, now, query, colours]);

  const error = services.error ?? whole.error;
  return (
    <div className="page">
      <div className="page-head">
        <h1 className="page-title">Services</h1>
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
          <RedTable caption="Services" nameLabel="Service" rows={rows} rangeSeconds={seconds} withTrend />
          <p className="muted">
            A request is a span of kind server or consumer, or one without a parent. Rates count from the
            first stored span on. {describeRange(range)}.
            {whole.data.estimated && " Estimated: some traces were sampled."}
          </p>
        </>
      )}
    </div>
  );
}

function measure(range: TimeRange) {
  const now = nowMs();
  return { step: chartStep(range, now), now };
}
