/** The traces of a search, one dense row each. */
import { useMemo } from "react";
import { Link } from "../address/Link";
import { tracePath } from "../address/routes";
import type { ServiceCount, TraceSummary } from "../api/types";
import { FailedMark, ServiceName } from "../components/Service";
import { useServiceColours } from "../components/useServiceColours";
import { nowMs } from "../lib/clock";
import { formatDuration } from "../lib/duration";
import { shortId } from "../lib/ids";
import { formatCount } from "../lib/numbers";
import { ceilingOf } from "../lib/outliers";
import { formatAge, formatTimeShort } from "../lib/time";
import type { SearchParams } from "./params";
import styles from "./Results.module.css";

const SHOWN_SERVICES = 4;

export function Results({ traces, search }: { traces: TraceSummary[]; search: SearchParams }) {
  const longest = useMemo(() => ceilingOf(traces.map((trace) => trace.durationNano)), [traces]);
  const now = nowMs();
  const colours = useServiceColours();
  const plain = search.query === "{ }";
  return (
    <table className={styles.traceTable}>
      <caption className="visually-hidden">Traces found</caption>
      <thead>
        <tr>
          <th scope="col" className={styles.cellTrace}>
            Trace
          </th>
          <th scope="col" className={styles.cellStart}>
            Started
          </th>
          <th scope="col" className={styles.cellDuration}>
            Duration
          </th>
          <th scope="col" className={`num ${styles.cellCount}`}>
            Spans
          </th>
          <th scope="col" className={`num ${styles.cellCount}`}>
            Errors
          </th>
          <th scope="col" className={styles.cellServices}>
            Services
          </th>
        </tr>
      </thead>
      <tbody>
        {traces.map((trace) => (
          <ResultRow
            key={trace.id}
            trace={trace}
            longest={longest}
            now={now}
            plain={plain}
            colours={colours}
          />
        ))}
      </tbody>
    </table>
  );
}

interface RowProps {
  trace: TraceSummary;
  longest: number;
  now: number;
  /** Whether the query has no condition, so that every span matches. */
  plain: boolean;
  colours: Map<string, number>;
}

function ResultRow({ trace, longest, now, plain, colours }: RowProps) {
  const root = trace.rootService ?? "unknown_service";
  const first = trace.matchedSpanIds[0];
  const path = tracePath(trace.id, { span: plain ? undefined : first });
  return (
    <tr className={trace.errorCount > 0 ? styles.hasErrors : undefined}>
      <td className={styles.cellTrace}>
        <Link to={path} className={styles.rowLink} title={trace.rootName}>
          <ServiceName name={root} colour={colours.get(root)} />{" "}
          <span className={styles.operation}>{trace.rootName || "(no root)"}</span>
        </Link>
        <span className={styles.sub}>
          {trace.status === "ERROR" || trace.errorCode ? <FailedMark code={trace.errorCode} /> : null}
          <code title={trace.id}>{shortId(trace.id)}</code>
          {!plain && trace.matchedSpanCount > 0 && (
            <span>{formatCount(trace.matchedSpanCount)} matching</span>
          )}
        </span>
      </td>
      <td className={styles.cellStart} data-label="Started">
        <span className="tnum">{formatTimeShort(trace.startUnixNano, now)}</span>
        <span className={styles.sub}>{formatAge(trace.startUnixNano, now)}</span>
      </td>
      <td className={styles.cellDuration} data-label="Duration">
        <span className="tnum">{formatDuration(trace.durationNano)}</span>
        <span className="duration-bar" aria-hidden="true">
          <span style={{ width: `${Math.min(100, Math.max(0.5, (trace.durationNano / longest) * 100))}%` }} />
        </span>
      </td>
      <td className="num tnum" data-label="Spans">
        {formatCount(trace.spanCount)}
      </td>
      <td className="num tnum" data-label="Errors">
        {trace.errorCount > 0 ? (
          <span className="error-count">
            <span aria-hidden="true">▲ </span>
            {formatCount(trace.errorCount)}
          </span>
        ) : (
          <span className="muted">0</span>
        )}
      </td>
      <td className={styles.cellServices}>
        <ServicePills services={trace.services} colours={colours} />
      </td>
    </tr>
  );
}

function ServicePills({ services, colours }: { services: ServiceCount[]; colours: Map<string, number> }) {
  const sorted = [...services].sort((a, b) => b.errorCount - a.errorCount || b.spanCount - a.spanCount);
  const rest = sorted.slice(SHOWN_SERVICES);
  return (
    <ul className="pills">
      {sorted.slice(0, SHOWN_SERVICES).map((service) => (
        <li
          key={service.name}
          title={`${service.name}: ${service.spanCount} spans, ${service.errorCount} errors`}
        >
          <ServiceName name={service.name} colour={colours.get(service.name)} />
          {service.errorCount > 0 && (
            <span className="error-count">
              <span aria-hidden="true">▲</span>
              {service.errorCount}
              <span className="visually-hidden"> errors</span>
            </span>
          )}
        </li>
      ))}
      {rest.length > 0 && <li title={rest.map((service) => service.name).join(", ")}>+{rest.length}</li>}
    </ul>
  );
}
