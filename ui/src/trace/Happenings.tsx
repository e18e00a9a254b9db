/** Events and log lines: of a span, and of spans that are not in the trace. */
import type { Span, SpanEvent, SpanLog, Trace } from "../api/types";
import { formatDuration, formatOffset } from "../lib/duration";
import { plural } from "../lib/numbers";
import { formatTimeExact, nanoBetween } from "../lib/time";
import { AttributeTable } from "./AttributeTable";
import styles from "./Happenings.module.css";
import { bodyOf, levelOf, severityOf } from "./logs";

interface Props {
  trace: Trace;
  /** Absent for those of spans that are not in the trace. */
  span?: Span;
  events: readonly SpanEvent[];
}

export function Happenings({ trace, span, events }: Props) {
  return (
    <ol className={styles.events}>
      {events.map((event, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: events have no identity of their own and never move.
        <li key={at} className={levelClass(event.log)}>
          <span className={styles.eventHead}>
            <span>
              {event.log && <Severity log={event.log} />}
              {(event.name || !event.log) && <strong>{event.name || "(no name)"}</strong>}
            </span>
            <EventTime trace={trace} span={span} event={event} />
          </span>
          {event.log && <LogBody trace={trace} span={span} log={event.log} />}
          <AttributeTable attributes={event.attributes ?? []} />
          {event.droppedAttributesCount ? (
            <p className="muted">{plural(event.droppedAttributesCount, "attribute")} dropped by the sender</p>
          ) : null}
        </li>
      ))}
    </ol>
  );
}

function levelClass(log: SpanLog | undefined): string | undefined {
  const level = log && levelOf(log.severityNumber);
  return level === "error" || level === "fatal"
    ? styles.failed
    : level === "warn"
      ? styles.warned
      : undefined;
}

function Severity({ log }: { log: SpanLog }) {
  const severity = severityOf(log);
  const title = log.alsoEvent ? "Came as a log and as an event of the span" : "Came as a log";
  return (
    <span className={styles.severity} title={title}>
      {severity || "LOG"}
    </span>
  );
}

function LogBody({ trace, span, log }: { trace: Trace; span: Span | undefined; log: SpanLog }) {
  const body = bodyOf(log);
  const service = trace.resources[log.resource]?.attributes.find((entry) => entry.key === "service.name");
  const isElsewhere = span === undefined || log.resource !== span.resource;
  return (
    <>
      {body && <p className={styles.body}>{body}</p>}
      {log.spanId && (
        <p className="muted">
          of span <code>{log.spanId}</code>
        </p>
      )}
      {isElsewhere && service?.value?.stringValue && (
        <p className="muted">logged by {service.value.stringValue}</p>
      )}
    </>
  );
}

function EventTime({ trace, span, event }: { trace: Trace; span: Span | undefined; event: SpanEvent }) {
  const { timeUnixNano } = event;
  if (timeUnixNano === undefined) return <span className="muted">without a time</span>;
  const inSpan = span && nanoBetween(span.startUnixNano, timeUnixNano);
  return (
    <span className="tnum" title={formatTimeExact(timeUnixNano)}>
      {formatOffset(nanoBetween(trace.startUnixNano, timeUnixNano))}{" "}
      {inSpan !== undefined && (
        <span className="muted">
          ({formatDuration(Math.abs(inSpan))} {inSpan < 0 ? "before" : "into"} the span)
        </span>
      )}
    </span>
  );
}
