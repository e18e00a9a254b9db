/**
 * The native JSON API (`/api/v1`) as types, and nothing else: no parsing, no view state.
 *
 * Times are decimal strings of Unix nanoseconds, because a double cannot hold them exactly.
 * Durations are plain integers of nanoseconds.
 */

/** Unix nanoseconds in decimal digits. */
export type UnixNano = string;

export type Status = "OK" | "ERROR" | "UNSET";
export type SpanKind = "UNSPECIFIED" | "INTERNAL" | "SERVER" | "CLIENT" | "PRODUCER" | "CONSUMER";

/** A value as OTLP JSON writes it: exactly one member is set, or none for an empty value. */
export interface AnyValue {
  stringValue?: string;
  intValue?: string | number;
  doubleValue?: number | string;
  boolValue?: boolean;
  bytesValue?: string;
  arrayValue?: { values?: AnyValue[] };
  kvlistValue?: { values?: KeyValue[] };
}

export interface KeyValue {
  key: string;
  value?: AnyValue;
}

export interface SpanEvent {
  timeUnixNano: UnixNano;
  name: string;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
}

export interface SpanLink {
  traceId: string;
  spanId: string;
  traceState?: string;
  attributes?: KeyValue[];
  droppedAttributesCount?: number;
  flags?: number;
}

export interface Resource {
  attributes: KeyValue[];
  schemaUrl?: string;
  droppedAttributesCount?: number;
}

export interface Scope {
  name: string;
  version: string;
  attributes: KeyValue[];
  schemaUrl?: string;
}

export interface Span {
  id: string;
  parentId: string | null;
  name: string;
  kind: SpanKind;
  startUnixNano: UnixNano;
  endUnixNano: UnixNano;
  durationNano: number;
  selfNano: number;
  status: Status;
  statusMessage: string;
  errorCode: string | null;
  /** Index into `Trace.resources`. */
  resource: number;
  /** Index into `Trace.scopes`. */
  scope: number;
  attributes: KeyValue[];
  events: SpanEvent[];
  links: SpanLink[];
  flags: number;
  traceState: string;
  warnings: string[];
}

export interface Segment {
  id: string;
  parentSegmentId: string | null;
  parentSpanId: string | null;
  service: string;
  instance: string | null;
  startUnixNano: UnixNano;
  endUnixNano: UnixNano;
  durationNano: number;
  status: Status;
  errorCode: string | null;
  spanCount: number;
  errorCount: number;
  spans: Span[];
}

export interface ServiceCount {
  name: string;
  spanCount: number;
  errorCount: number;
}

export interface Trace {
  id: string;
  startUnixNano: UnixNano;
  endUnixNano: UnixNano;
  durationNano: number;
  status: Status;
  errorCode: string | null;
  rootService: string | null;
  rootName: string;
  spanCount: number;
  errorCount: number;
  segmentCount: number;
  services: ServiceCount[];
  warnings: string[];
  /** Null where the stored bytes could not be read. */
  resources: (Resource | null)[];
  scopes: (Scope | null)[];
  segments: Segment[];
  truncated?: boolean;
  nextCursor?: string;
}

export interface TraceAnswer {
  trace: Trace;
}

export interface TraceSummary {
  id: string;
  rootService: string | null;
  rootName: string;
  startUnixNano: UnixNano;
  durationNano: number;
  spanCount: number;
  errorCount: number;
  status: Status;
  errorCode: string | null;
  services: ServiceCount[];
  matchedSpanIds: string[];
  matchedSpanCount: number;
}

export interface SearchAnswer {
  traces: TraceSummary[];
  nextCursor: string | null;
  partial: boolean;
  scanned?: Record<string, unknown>;
}

export const ORDERS = ["newest", "oldest", "longest", "shortest", "mostSpans", "mostErrors"] as const;
export type Order = (typeof ORDERS)[number];

export interface ServicesAnswer {
  services: { name: string }[];
}

export interface OperationsAnswer {
  operations: { name: string; kind: SpanKind }[];
}

export interface AggregatePoint {
  timeUnixNano: UnixNano;
  requestCount: number;
  errorCount: number;
  errorRate: number;
  successRate: number;
  p50Nano: number;
  p75Nano: number;
  p90Nano: number;
  p95Nano: number;
  p99Nano: number;
  maxNano: number;
}

export interface AggregateSeries {
  labels: { service?: string; operation?: string; kind?: SpanKind };
  points: AggregatePoint[];
}

export interface AggregatesAnswer {
  stepNano: number;
  series: AggregateSeries[];
  estimated: boolean;
}

export interface StatusAnswer {
  version: string;
  spanCount: number;
  traceCount: number;
  storeBytes: number;
  oldestUnixNano: UnixNano | null;
  newestUnixNano: UnixNano | null;
  ingestSpansPerSecond: number;
}

/** RFC 9457, as every error of the API comes. */
export interface Problem {
  type?: string;
  title?: string;
  status?: number;
  detail?: string;
}
