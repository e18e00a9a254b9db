/** One service: rate, errors and latency over time, and its operations. */
import { useMemo } from "react";
import { Link } from "../address/Link";
import { servicesPath } from "../address/routes";
import type { AggregatesAnswer } from "../api/types";
import { useApi } from "../api/useApi";
import { RangePicker } from "../components/RangePicker";
import { ServiceName } from "../components/Service";
import { Failure, Loading } from "../components/States";
import { useServiceColours } from "../components/useServiceColours";
import { useTitle } from "../components/useTitle";
import { nowMs } from "../lib/clock";
import { formatDuration } from "../lib/duration";
import { formatCompact, formatPercent } from "../lib/numbers";
import { describeRange, type TimeRange } from "../lib/time";
import { queryFor } from "../lib/traceql";
import { searchPath } from "../search/params";
import { AheadNote } from "./AheadNote";
import { aggregatesUrl, chartData, chartStep, totals, WHOLE_RANGE } from "./aggregates";
import { Chart } from "./Chart";
import { type RedRow, RedTable } from "./RedTable";
import styles from "./ServicePage.module.css";
import { useCoveredSeconds } from "./useCoveredSeconds";
import { useRange } from "./useRange";

export default function ServicePage({ service }: { service: string }) {
  useTitle(service);
  const colours = useServiceColours();
  const { range, setRange, query } = useRange();
  return (
    <div className="page">
      <div className="page-head">
        <div>
          <p className="crumbs">
            <Link to={servicesPath(query)}>Services</Link>
          </p>
          <h1 className="page-title">
            <ServiceName name={service} colour={colours.get(service)} expandable />
          </h1>
        </div>
        <Link className="button" to={searchPath({ query: queryFor({ service }), range })}>
          Find its traces
        </Link>
        <RangePicker range={range} onChange={setRange} />
      </div>
      <AheadNote range={range} service={service} />
      <Charts service={service} range={range} onRange={setRange} />
      <h2>Operations</h2>
      <Operations service={service} range={range} />
    </div>
  );
}

interface ChartsProps {
  service: string;
  range: TimeRange;
  onRange: (range: TimeRange) => void;
}

function Charts({ service, range, onRange }: ChartsProps) {
  const { step, now } = useMemo(() => {
    const now = nowMs();
    return { now, step: chartStep(range, now) };
  }, [range]);
  const { data, error, reload } = useApi<AggregatesAnswer>(
    aggregatesUrl(range, "service", step, { service }),
    {
      keep: true,
    },
  );
  const chart = useMemo(
    () => data && chartData(data.series, data.stepNano / 1e9 || step, range, now),
    [data, step, range, now],
  );
  if (error) return <Failure error={error} retry={reload} />;
  if (!chart || !data) return <Loading label="Loading charts" />;
  const rate = rateLine(chart.rate);
  const all = totals(data.series[0]?.points ?? []);
  if (all.requestCount === 0) {
    return (
      <p className="notice">
        No requests in {describeRange(range).toLowerCase()}. A request is a span of kind server or consumer,
        or one without a parent.
      </p>
    );
  }
  return (
    <div className={styles.charts}>
      <Chart
        title="Requests"
        summary={`${all.requestCount.toLocaleString("en")} in total`}
        times={chart.times}
        lines={[{ label: "requests", values: rate.values, colour: "var(--chart-1)", fill: true }]}
        format={rate.format}
        onRange={onRange}
      />
      <Chart
        title="Errors"
        summary={`${all.errorCount.toLocaleString("en")} in total, ${formatPercent(all.errorRate)}`}
        times={chart.times}
        lines={[{ label: "error rate", values: chart.errorRate, colour: "var(--error)", fill: true }]}
        format={formatPercent}
        onRange={onRange}
      />
      <Chart
        title="Latency"
        summary="p50, p95, p99"
        times={chart.times}
        lines={[
          { label: "p50", values: chart.p50, colour: "var(--chart-1)" },
          { label: "p95", values: chart.p95, colour: "var(--chart-2)", dash: [7, 3] },
          { label: "p99", values: chart.p99, colour: "var(--chart-3)", dash: [2, 3] },
        ]}
        format={formatDuration}
        onRange={onRange}
      />
    </div>
  );
}

/** Rates per second, or per minute if all are below one a second, so that the axis has round numbers. */
function rateLine(perSecond: number[]): { values: number[]; format: (value: number) => string } {
  if (Math.max(...perSecond) >= 1) return { values: perSecond, format: PER_SECOND };
  return { values: perSecond.map((value) => value * 60), format: PER_MINUTE };
}

const PER_SECOND = (value: number) => `${formatCompact(value)}/s`;
const PER_MINUTE = (value: number) => `${formatCompact(value)}/min`;

function Operations({ service, range }: { service: string; range: TimeRange }) {
  const { data, error, reload } = useApi<AggregatesAnswer>(
    aggregatesUrl(range, "operation", WHOLE_RANGE, { service }),
    {
      keep: true,
    },
  );
  const seconds = useCoveredSeconds(range);
  const rows = useMemo<RedRow[]>(
    () =>
      (data?.series ?? []).map((series) => {
        const operation = series.labels.operation ?? "";
        return {
          key: operation,
          name: (
            <Link to={searchPath({ query: queryFor({ service, operation }), range })}>
              <span className="clamp" title={operation}>
                {operation || "(no name)"}
              </span>
            </Link>
          ),
          totals: totals(series.points),
        };
      }),
    [data, service, range],
  );
  if (error) return <Failure error={error} retry={reload} />;
  if (!data) return <Loading label="Loading operations" />;
  if (rows.length === 0) return <p className="muted">None in this range.</p>;
  return (
    <RedTable caption={`Operations of ${service}`} nameLabel="Operation" rows={rows} rangeSeconds={seconds} />
  );
}
