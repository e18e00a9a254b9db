/** Flat spans to the API's tree, by the API's own definitions. For the mock only; small, not fast. */
import type {
  KeyValue,
  Resource,
  Scope,
  Segment,
  Span,
  SpanEvent,
  SpanLink,
  Status,
  Trace,
  TraceSummary,
} from "../../src/api/types";
import { attributeText } from "../../src/lib/attributes";
import { spanFailed } from "../../src/trace/tree";

export interface FlatSpan {
  traceId: string;
  id: string;
  parentId: string | null;
  service: string;
  instance: string;
  name: string;
  kind: Span["kind"];
  /** Unix nanoseconds. */
  start: bigint;
  duration: number;
  status: Status;
  statusMessage?: string;
  attributes: KeyValue[];
  events?: SpanEvent[];
  links?: SpanLink[];
  warnings?: string[];
}

const SCOPES: Scope[] = [
  {
    name: "demo.http",
    version: "1.4.0",
    attributes: [],
    schemaUrl: "https://opentelemetry.io/schemas/1.30.0",
  },
];

export function assemble(spans: FlatSpan[]): Trace {
  const sorted = [...spans].sort((a, b) => (a.start < b.start ? -1 : a.start > b.start ? 1 : 0));
  const byId = new Map(sorted.map((span) => [span.id, span]));
  const children = new Map<string, FlatSpan[]>();
  const tops: FlatSpan[] = [];
  for (const span of sorted) {
    const parent = span.parentId !== null ? byId.get(span.parentId) : undefined;
    if (!parent) tops.push(span);
    else children.set(parent.id, [...(children.get(parent.id) ?? []), span]);
  }
  const resources = new Map<string, { index: number; resource: Resource }>();
  const resourceOf = (span: FlatSpan) => {
    const key = `${span.service} ${span.instance}`;
    const known = resources.get(key);
    if (known) return known.index;
    const index = resources.size;
    resources.set(key, { index, resource: makeResource(span) });
    return index;
  };

  const segments: Segment[] = [];
  const open = (entry: FlatSpan, above: { segment: string; span: string } | null) => {
    const members: Span[] = [];
    const segment: Segment = {
      id: entry.id,
      parentSegmentId: above?.segment ?? null,
      parentSpanId: above?.span ?? null,
      service: entry.service,
      instance: entry.instance,
      startUnixNano: "",
      endUnixNano: "",
      durationNano: 0,
      status: entry.status,
      errorCode: null,
      spanCount: 0,
      errorCount: 0,
      spans: members,
    };
    segments.push(segment);
    const hops: [FlatSpan, string][] = [];
    const visit = (span: FlatSpan) => {
      const below = children.get(span.id) ?? [];
      members.push(toSpan(span, below, resourceOf(span)));
      for (const child of below) {
        const local = child.service === span.service && child.instance === span.instance;
        if (local && child.kind !== "SERVER" && child.kind !== "CONSUMER") visit(child);
        else hops.push([child, span.id]);
      }
    };
    visit(entry);
    const start = members.reduce((low, span) => min(low, BigInt(span.startUnixNano)), entry.start);
    const end = members.reduce((high, span) => max(high, BigInt(span.endUnixNano)), entry.start);
    segment.startUnixNano = start.toString();
    segment.endUnixNano = end.toString();
    segment.durationNano = Number(end - start);
    segment.spanCount = members.length;
    segment.errorCount = members.filter(spanFailed).length;
    segment.errorCode = members[0]?.errorCode ?? null;
    for (const [child, span] of hops) open(child, { segment: segment.id, span });
  };
  for (const top of tops) open(top, null);

  const root = tops.find((span) => span.parentId === null) ?? (tops[0] as FlatSpan);
  const start = sorted.reduce((low, span) => min(low, span.start), root.start);
  const end = sorted.reduce((high, span) => max(high, span.start + BigInt(span.duration)), root.start);
  const failed = (span: FlatSpan) => spanFailed({ status: span.status, attributes: span.attributes } as Span);
  const services = [...new Set(sorted.map((span) => span.service))].map((name) => {
    const own = sorted.filter((span) => span.service === name);
    return { name, spanCount: own.length, errorCount: own.filter(failed).length };
  });
  return {
    id: root.traceId,
    startUnixNano: start.toString(),
    endUnixNano: end.toString(),
    durationNano: Number(end - start),
    status: root.status,
    errorCode: failed(root) ? errorCode(root) : null,
    rootService: root.service,
    rootName: root.name,
    spanCount: sorted.length,
    errorCount: sorted.filter(failed).length,
    segmentCount: segments.length,
    services,
    warnings: [
      ...(tops.length > 1 ? [`${tops.length - 1} spans have a parent that was not received`] : []),
      ...sorted.flatMap((span) => (span.warnings ?? []).map((warning) => `span ${span.id}: ${warning}`)),
    ],
    resources: [...resources.values()].map(({ resource }) => resource),
    scopes: SCOPES,
    segments,
  };
}

export function summarise(trace: Trace, matched: string[]): TraceSummary {
  return {
    id: trace.id,
    rootService: trace.rootService,
    rootName: trace.rootName,
    startUnixNano: trace.startUnixNano,
    durationNano: trace.durationNano,
    spanCount: trace.spanCount,
    errorCount: trace.errorCount,
    status: trace.status,
    errorCode: trace.errorCode,
    services: trace.services,
    matchedSpanIds: matched.slice(0, 20),
    matchedSpanCount: matched.length,
  };
}

function toSpan(span: FlatSpan, below: FlatSpan[], resource: number): Span {
  const result: Span = {
    id: span.id,
    parentId: span.parentId,
    name: span.name,
    kind: span.kind,
    startUnixNano: span.start.toString(),
    endUnixNano: (span.start + BigInt(span.duration)).toString(),
    durationNano: span.duration,
    selfNano: selfNano(span, below),
    status: span.status,
    statusMessage: span.statusMessage ?? "",
    errorCode: null,
    resource,
    scope: 0,
    attributes: span.attributes,
    events: span.events ?? [],
    links: span.links ?? [],
    flags: span.parentId === null ? 0x101 : span.kind === "SERVER" ? 0x301 : 0x101,
    traceState: span.parentId === null ? "vendor=1,other=a" : "",
    warnings: span.warnings ?? [],
  };
  if (spanFailed(result)) result.errorCode = errorCode(span);
  return result;
}

function errorCode(span: FlatSpan): string | null {
  for (const key of ["error.type", "http.response.status_code", "rpc.grpc.status_code"]) {
    const text = attributeText(span.attributes, key);
    if (text && (key === "error.type" || Number(text) >= (key.startsWith("http") ? 400 : 1))) return text;
  }
  return null;
}

function selfNano(span: FlatSpan, below: FlatSpan[]): number {
  const parts = below
    .map(
      (child) =>
        [Number(child.start - span.start), Number(child.start - span.start) + child.duration] as const,
    )
    .sort((a, b) => a[0] - b[0]);
  let reached = 0;
  let covered = 0;
  for (const [from, to] of parts) {
    const left = Math.max(from, reached, 0);
    const right = Math.min(to, span.duration);
    if (right > left) covered += right - left;
    reached = Math.max(reached, to);
  }
  return span.duration - covered;
}

function makeResource(span: FlatSpan): Resource {
  const text = (key: string, value: string): KeyValue => ({ key, value: { stringValue: value } });
  return {
    attributes: [
      text("service.name", span.service),
      text("service.instance.id", span.instance),
      text("service.version", "2.3.1"),
      text("deployment.environment.name", "demo"),
      text("telemetry.sdk.language", "rust"),
      { key: "process.pid", value: { intValue: "4242" } },
    ],
    schemaUrl: "https://opentelemetry.io/schemas/1.30.0",
    droppedAttributesCount: 0,
  };
}

function min(a: bigint, b: bigint): bigint {
  return a < b ? a : b;
}

function max(a: bigint, b: bigint): bigint {
  return a > b ? a : b;
}
