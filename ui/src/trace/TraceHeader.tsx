/** The summary of the trace in two lines: root, outcome, counts, services. */
import { useState } from "react";
import { apiUrl } from "../api/client";
import type { Trace } from "../api/types";
import { CopyButton } from "../components/CopyButton";
import { Download } from "../components/Download";
import { LongText } from "../components/LongText";
import { FailedMark, ServiceName } from "../components/Service";
import { Warning } from "../components/States";
import { formatDuration } from "../lib/duration";
import { formatCount, plural } from "../lib/numbers";
import { formatAge, formatTime } from "../lib/time";
import styles from "./TraceHeader.module.css";

interface Props {
  trace: Trace;
  colours: Map<string, number>;
  onService: (find: string) => void;
  reload: () => void;
  reloading: boolean;
}

export function TraceHeader({ trace, colours, onService, reload, reloading }: Props) {
  const failed = trace.status === "ERROR" || trace.errorCode !== null;
  // Only small screens fold the header, which would push the tree out of sight there.
  const [folded, setFolded] = useState(true);
  return (
    <section
      className={folded ? `${styles.traceHeader} ${styles.folded}` : styles.traceHeader}
      aria-label="Trace summary"
    >
      <div className={styles.traceTitle}>
        <h1>
          <span className="muted">
            <LongText text={trace.rootService ?? "unknown_service"} />
          </span>{" "}
          <LongText text={trace.rootName || "(no root)"} />
        </h1>
        {failed ? (
          <FailedMark code={trace.errorCode ?? "ERROR"} />
        ) : (
          <span className="status-mark">{trace.status}</span>
        )}
        <button
          type="button"
          className={styles.foldToggle}
          aria-expanded={!folded}
          onClick={() => setFolded(!folded)}
        >
          {folded ? "More" : "Less"}
        </button>
        <span className={`${styles.traceActions} ${styles.secondary}`}>
          <button type="button" onClick={reload} disabled={reloading}>
            {reloading ? "Loading…" : "Reload"}
          </button>
          <Download
            url={apiUrl(["traces", trace.id], { format: "otlp" })}
            fileName={`trace-${trace.id}.json`}
            text="Download OTLP JSON"
          />
        </span>
      </div>
      <dl className="facts">
        <Fact name="Trace ID" secondary>
          <code>{trace.id}</code>
          <CopyButton text={trace.id} label="Copy trace ID" />
        </Fact>
        <Fact name="Start" secondary>
          {formatTime(trace.startUnixNano)}{" "}
          <span className="muted">{formatAge(trace.startUnixNano, Date.now())}</span>
        </Fact>
        <Fact name="Duration">
          <strong>{formatDuration(trace.durationNano)}</strong>
        </Fact>
        <Fact name="Spans">{formatCount(trace.spanCount)}</Fact>
        <Fact name="Errors">
          <span className={trace.errorCount > 0 ? "error-count" : "muted"}>
            {formatCount(trace.errorCount)}
          </span>
        </Fact>
        <Fact name="Segments" secondary>
          {formatCount(trace.segmentCount)}
        </Fact>
        <Fact name="Services" secondary>
          {formatCount(trace.services.length)}
        </Fact>
      </dl>
      <ul className={`pills ${styles.secondary}`} aria-label="Services in this trace">
        {trace.services.map((service) => (
          <li key={service.name}>
            <button
              type="button"
              onClick={() => onService(`"${service.name}"`)}
              title={`Find the spans of ${service.name}`}
            >
              <ServiceName name={service.name} colour={colours.get(service.name)} />
              <span className="muted">{service.spanCount}</span>
              {service.errorCount > 0 && (
                <span className="error-count">
                  <span aria-hidden="true">▲</span>
                  {service.errorCount}
                  <span className="visually-hidden"> errors</span>
                </span>
              )}
            </button>
          </li>
        ))}
      </ul>
      {trace.truncated && (
        <Warning>
          This trace is too large for one page: the first spans in tree order are shown. The download has all
          of them.
        </Warning>
      )}
      {trace.warnings.length > 0 && <Warnings warnings={trace.warnings} />}
    </section>
  );
}

interface FactProps {
  name: string;
  /** Whether a folded header leaves it out. */
  secondary?: boolean;
  children: React.ReactNode;
}

function Fact({ name, secondary = false, children }: FactProps) {
  return (
    <div className={secondary ? styles.secondary : undefined}>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Warnings({ warnings }: { warnings: string[] }) {
  return (
    <details className="notice notice-warning">
      <summary>
        <span aria-hidden="true">⚠ </span>
        {plural(warnings.length, "warning")}
      </summary>
      <ul>
        {warnings.map((warning) => (
          <li key={warning}>{warning}</li>
        ))}
      </ul>
    </details>
  );
}
