/** All details of the selected row. */
import { useEffect, useRef } from "react";
import { Link } from "../address/Link";
import { tracePath } from "../address/routes";
import type { Resource, Scope, Segment, Span, SpanLink, Trace } from "../api/types";
import { CopyButton } from "../components/CopyButton";
import { LongText } from "../components/LongText";
import { FailedMark, ServiceName } from "../components/Service";
import { Warning } from "../components/States";
import { nowMs } from "../lib/clock";
import { formatDuration, formatOffset } from "../lib/duration";
import { formatPercent, plural } from "../lib/numbers";
import { formatTimeExact } from "../lib/time";
import { AttributeTable } from "./AttributeTable";
import styles from "./DetailPanel.module.css";
import { Happenings } from "./Happenings";
import { splitEvents } from "./logs";
import { similarPath } from "./similar";
import { type Row, spanFailed, type Tree } from "./tree";

interface Props {
  trace: Trace;
  tree: Tree;
  index: number;
  colours: Map<string, number>;
  onClose: () => void;
  onGoTo: (index: number) => void;
}

export function DetailPanel({ trace, tree, index, colours, onClose, onGoTo }: Props) {
  const panel = useRef<HTMLElement>(null);
  useEffect(() => {
    void index;
    panel.current?.scrollTo(0, 0);
  }, [index]);
  const row = tree.rows[index] as Row;
  const { span, segment } = row;
  return (
    <aside
      ref={panel}
      className={styles.detail}
      aria-label={span ? "Span details" : "Segment details"}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: it scrolls, so the keyboard must reach it.
      tabIndex={0}
    >
      <div className={styles.detailHead}>
        <div>
          <ServiceName name={segment.service} colour={colours.get(segment.service)} expandable />
          {segment.instance && <span className="muted"> {segment.instance}</span>}
          <h2>{span ? <LongText text={span.name || "(no name)"} /> : "Segment"}</h2>
        </div>
        <button
          type="button"
          className="icon-button"
          onClick={onClose}
          aria-label="Close details"
          title="Close (Esc)"
        >
          <span aria-hidden="true">✕</span>
        </button>
      </div>
      {span ? (
        <SpanDetail trace={trace} row={row} span={span} />
      ) : (
        <SegmentDetail trace={trace} row={row} segment={segment} />
      )}
      {row.parent >= 0 && (
        <p>
          <button type="button" className="link-button" onClick={() => onGoTo(row.parent)}>
            Go to parent
          </button>
        </p>
      )}
    </aside>
  );
}

function SegmentDetail({ trace, row, segment }: { trace: Trace; row: Row; segment: Segment }) {
  const entry = segment.spans[0];
  const resource = trace.resources[entry?.resource ?? -1];
  return (
    <>
      <dl className="facts">
        <Fact name="Status">
          {segment.status === "ERROR" || segment.errorCode ? (
            <FailedMark code={segment.errorCode ?? "ERROR"} />
          ) : (
            segment.status
          )}
        </Fact>
        <Timing trace={trace} row={row} />
        <Fact name="Spans">{segment.spanCount}</Fact>
        <Fact name="Errors">{segment.errorCount}</Fact>
      </dl>
      {resource && entry && <ResourceSection resource={resource} span={entry} failed={spanFailed(entry)} />}
      <Section title="Identity" open>
        <dl className={styles.identity}>
          <Id name="Segment" id={segment.id} />
          {segment.parentSegmentId && <Id name="Parent segment" id={segment.parentSegmentId} />}
          {segment.parentSpanId && <Id name="Parent span" id={segment.parentSpanId} />}
        </dl>
      </Section>
    </>
  );
}

function SpanDetail({ trace, row, span }: { trace: Trace; row: Row; span: Span }) {
  const resource = trace.resources[span.resource];
  const scope = trace.scopes[span.scope];
  const { events, lines } = splitEvents(span.events);
  return (
    <>
      <dl className="facts">
        <Fact name="Status">
          {row.failed ? <FailedMark code={span.errorCode ?? span.status} /> : span.status}
        </Fact>
        <Fact name="Kind">{span.kind.toLowerCase()}</Fact>
        <Timing trace={trace} row={row} />
        <Fact name="Self time">
          {formatDuration(span.selfNano)}{" "}
          {span.durationNano > 0 && (
            <span className="muted">{formatPercent(span.selfNano / span.durationNano)}</span>
          )}
        </Fact>
      </dl>
      {span.statusMessage && <p className={styles.statusMessage}>{span.statusMessage}</p>}
      {span.warnings.map((warning) => (
        <Warning key={warning}>{warning}</Warning>
      ))}
      <Section title="Attributes" count={span.attributes.length} open>
        <AttributeTable
          attributes={span.attributes}
          findPath={(entry) =>
            similarPath(
              { span, failed: row.failed, resource: resource?.attributes ?? [] },
              entry,
              "span",
              nowMs(),
            )
          }
        />
      </Section>
      <Section title="Events" count={events.length} open>
        <Happenings trace={trace} span={span} events={events} />
      </Section>
      <Section title="Logs" count={lines.length} open>
        <Happenings trace={trace} span={span} events={lines} />
      </Section>
      {span.folded && (
        <Section title="Proxies" count={span.foldedSpanCount ?? span.folded.length} open>
          <ul>
            {span.folded.map((part) => (
              <li key={part.id}>
                {part.service} · {part.kind.toLowerCase()} · {formatDuration(part.durationNano)}
                {part.errorCode && <FailedMark code={part.errorCode} />}
                <br />
                <LongText text={part.name || "(no name)"} /> <code className="muted">{part.id}</code>
              </li>
            ))}
          </ul>
        </Section>
      )}
      <Section title="Links" count={span.links.length} open>
        <Links links={span.links} />
      </Section>
      {resource && <ResourceSection resource={resource} span={span} failed={row.failed} />}
      {scope && <ScopeSection scope={scope} />}
      <Section title="Identity" open>
        <dl className={styles.identity}>
          <Id name="Span" id={span.id} />
          {span.parentId && <Id name="Parent span" id={span.parentId} />}
          <Id name="Segment" id={row.segment.id} />
          <Text name="Start">{formatTimeExact(span.startUnixNano)}</Text>
          <Text name="End">{formatTimeExact(span.endUnixNano)}</Text>
          <Text name="Flags">{flagText(span.flags)}</Text>
          {span.traceState && <Text name="Trace state">{span.traceState}</Text>}
        </dl>
      </Section>
    </>
  );
}

function Timing({ trace, row }: { trace: Trace; row: Row }) {
  return (
    <>
      <Fact name="Starts at">{formatOffset(row.start)}</Fact>
      <Fact name="Duration">
        <strong>{formatDuration(row.duration)}</strong>{" "}
        {trace.durationNano > 0 && (
          <span className="muted">{formatPercent(row.duration / trace.durationNano)} of trace</span>
        )}
      </Fact>
    </>
  );
}

function ResourceSection({ resource, span, failed }: { resource: Resource; span: Span; failed: boolean }) {
  const similarTo = { span, failed, resource: resource.attributes };
  return (
    <Section title="Resource" count={resource.attributes.length} open>
      <AttributeTable
        attributes={resource.attributes}
        findPath={(entry) => similarPath(similarTo, entry, "resource", nowMs())}
      />
      {resource.schemaUrl && <p className="muted">Schema {resource.schemaUrl}</p>}
      <Dropped count={resource.droppedAttributesCount} what="attribute" />
    </Section>
  );
}

function ScopeSection({ scope }: { scope: Scope }) {
  if (!scope.name && scope.attributes.length === 0) return null;
  return (
    <Section title="Scope" open>
      <p>
        <code>
          {scope.name} {scope.version}
        </code>
      </p>
      {scope.schemaUrl && <p className="muted">Schema {scope.schemaUrl}</p>}
      {scope.attributes.length > 0 && <AttributeTable attributes={scope.attributes} />}
    </Section>
  );
}

function Links({ links }: { links: SpanLink[] }) {
  return (
    <ol className={styles.events}>
      {links.map((link, at) => (
        // biome-ignore lint/suspicious/noArrayIndexKey: links have no identity of their own and never move.
        <li key={at}>
          <span className={styles.eventHead}>
            <LinkTarget link={link} />
          </span>
          {link.traceState && <p className="muted">Trace state {link.traceState}</p>}
          <AttributeTable attributes={link.attributes ?? []} />
          <Dropped count={link.droppedAttributesCount} what="attribute" />
        </li>
      ))}
    </ol>
  );
}

/** Links are stored as they were sent, so they may lack a trace ID. */
function LinkTarget({ link }: { link: SpanLink }) {
  if (!link.traceId) return <span className="muted">without a trace ID</span>;
  return (
    <>
      <Link to={tracePath(link.traceId, { span: link.spanId })}>
        <code>{link.traceId}</code>
      </Link>
      {link.spanId && (
        <span className="muted">
          span <code>{link.spanId}</code>
        </span>
      )}
    </>
  );
}

function Dropped({ count, what }: { count: number | undefined; what: string }) {
  return count ? <p className="muted">{plural(count, what)} dropped by the sender</p> : null;
}

interface SectionProps {
  title: string;
  count?: number;
  open?: boolean;
  children: React.ReactNode;
}

/** A section; it is left out if it is empty. */
function Section({ title, count, open, children }: SectionProps) {
  if (count === 0) return null;
  return (
    <details className={styles.section} open={open}>
      <summary>
        {title} {count !== undefined && <span className="muted">{count}</span>}
      </summary>
      {children}
    </details>
  );
}

function Fact({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function Id({ name, id }: { name: string; id: string }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <code>{id}</code>
        <CopyButton text={id} label={`Copy ${name.toLowerCase()} ID`} />
      </dd>
    </>
  );
}

function Text({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <>
      <dt>{name}</dt>
      <dd>
        <code>{children}</code>
      </dd>
    </>
  );
}

const FLAG_SAMPLED = 0x1;
const FLAG_HAS_REMOTE = 0x100;
const FLAG_REMOTE = 0x200;

function flagText(flags: number): string {
  const words = [flags & FLAG_SAMPLED ? "sampled" : "not sampled"];
  if (flags & FLAG_HAS_REMOTE) words.push(flags & FLAG_REMOTE ? "remote parent" : "local parent");
  return `0x${(flags >>> 0).toString(16)} (${words.join(", ")})`;
}
