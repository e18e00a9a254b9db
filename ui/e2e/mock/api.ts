/** Answers the native API from made-up traces, in the shapes of the contract. For development and tests. */
import type { AggregatePoint, AggregateSeries, Order, Segment, Span, Trace } from "../../src/api/types";
import { valueText, valueType } from "../../src/lib/attributes";
import { parseDuration } from "../../src/lib/duration";
import { msToNano, nanoToMs, parseTime } from "../../src/lib/time";
import { parseAttributes, parseQuery, type SearchForm } from "../../src/lib/traceql";
import { spanFailed } from "../../src/trace/tree";
import { summarise } from "./assemble";

export interface Reply {
  status: number;
  body: unknown;
}

type Query = URLSearchParams;

const ALLOWED: Record<string, string[]> = {
  traces: ["q", "start", "end", "limit", "order", "cursor"],
  aggregates: ["service", "operation", "kind", "groupBy", "start", "end", "step"],
};

export function answer(traces: Trace[], path: string, query: Query): Reply {
  const parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  const [first, second, third] = parts;
  const unknown = [...query.keys()].find(
    (key) => ALLOWED[first ?? ""] && !second && !ALLOWED[first ?? ""]?.includes(key),
  );
  if (unknown)
    return problem(400, "Unknown parameter", `Parameter "${unknown}" is not known here. Remove it.`);
  if (first === "traces" && second) return oneTrace(traces, second, query);
  if (first === "traces") return search(traces, query);
  if (first === "services" && third === "operations") return operations(traces, second ?? "");
  if (first === "services" && !second)
    return ok({ services: serviceNames(traces).map((name) => ({ name })) });
  if (first === "aggregates") return aggregates(traces, query);
  if (first === "status") return status(traces);
  return problem(404, "Not found", `Nothing answers at /api/v1/${path}.`);
}

function oneTrace(traces: Trace[], id: string, query: Query): Reply {
  const trace = traces.find((candidate) => candidate.id === id.toLowerCase().padStart(32, "0"));
  if (!trace) {
    return problem(
      404,
      "Trace not found",
      `No span of trace ${id} is stored. Check the ID, and whether retention has removed it.`,
    );
  }
  return ok(query.get("format") === "otlp" ? { resourceSpans: [] } : { trace });
}

function search(traces: Trace[], query: Query): Reply {
  const text = query.get("q") ?? "{ }";
  const form = parseQuery(text);
  if (!form)
    return problem(
      400,
      "Query not understood",
      `Cannot read "${text}": expected { condition && condition }.`,
    );
  const now = Date.now();
  const start = parseTime(query.get("start") ?? "now-1h", now) ?? 0;
  const end = parseTime(query.get("end") ?? "", now) ?? Number.POSITIVE_INFINITY;
  const found = traces.flatMap((trace) => {
    const matched = everySpan(trace).filter(({ span, segment }) => {
      const at = nanoToMs(span.startUnixNano);
      return at >= start && at < end && matches(form, trace, segment, span);
    });
    return matched.length > 0
      ? [
          summarise(
            trace,
            matched.map(({ span }) => span.id),
          ),
        ]
      : [];
  });
  const by: Record<Order, (trace: (typeof found)[number]) => number> = {
    newest: (trace) => -nanoToMs(trace.startUnixNano),
    oldest: (trace) => nanoToMs(trace.startUnixNano),
    longest: (trace) => -trace.durationNano,
    shortest: (trace) => trace.durationNano,
    mostSpans: (trace) => -trace.spanCount,
    mostErrors: (trace) => -trace.errorCount,
  };
  const key = by[(query.get("order") ?? "newest") as Order];
  found.sort((a, b) => key(a) - key(b));
  const limit = Number(query.get("limit") ?? 20);
  const offset = Number(query.get("cursor") ?? 0);
  const next = offset + limit;
  return ok({
    traces: found.slice(offset, next),
    nextCursor: next < found.length ? String(next) : null,
    partial: false,
    scanned: { spans: found.length },
  });
}

function matches(form: SearchForm, trace: Trace, segment: Segment, span: Span): boolean {
  if (form.service && segment.service !== form.service) return false;
  if (form.operation && span.name !== form.operation) return false;
  if (form.failed && !spanFailed(span)) return false;
  if (form.minDuration && span.durationNano < (parseDuration(form.minDuration) ?? 0)) return false;
  if (form.maxDuration && span.durationNano > (parseDuration(form.maxDuration) ?? 0)) return false;
  const pairs = parseAttributes(form.attributes);
  if (typeof pairs === "string") return false;
  return pairs.every(({ key, value }) => {
    const scoped = /^(span|resource)\.(.+)$/.exec(key);
    const name = scoped?.[2] ?? key;
    const places = [
      ...(scoped?.[1] === "resource" ? [] : span.attributes),
      ...(scoped?.[1] === "span" ? [] : (trace.resources[span.resource]?.attributes ?? [])),
    ];
    const types = { string: ["string"], number: ["int", "double"], boolean: ["bool"] }[value.type];
    return places.some(
      (entry) =>
        entry.key === name && types.includes(valueType(entry.value)) && valueText(entry.value) === value.text,
    );
  });
}

function operations(traces: Trace[], service: string): Reply {
  const found = new Map<string, Span["kind"]>();
  for (const trace of traces) {
    if (trace.spanCount > 1000) continue;
    for (const { segment, span } of everySpan(trace))
      if (segment.service === service) found.set(span.name, span.kind);
  }
  return ok({ operations: [...found].sort().map(([name, kind]) => ({ name, kind })) });
}

function aggregates(traces: Trace[], query: Query): Reply {
  const now = Date.now();
  const start = parseTime(query.get("start") ?? "now-1h", now) ?? 0;
  const end = parseTime(query.get("end") ?? "", now) ?? Number.POSITIVE_INFINITY;
  const stepMs = stepOf(query.get("step") ?? "60s");
  const groupBy = (query.get("groupBy") ?? "").split(",").filter(Boolean);
  const groups = new Map<string, { labels: AggregateSeries["labels"]; buckets: Map<number, Span[]> }>();
  for (const trace of traces) {
    if (trace.spanCount > 1000) continue;
    for (const { segment, span } of everySpan(trace)) {
      const at = nanoToMs(span.startUnixNano);
      if (at < start || at >= end) continue;
      if (span.kind !== "SERVER" && span.kind !== "CONSUMER" && span.parentId !== null) continue;
      const all = { service: segment.service, operation: span.name, kind: span.kind };
      if (query.get("service") && query.get("service") !== all.service) continue;
      if (query.get("operation") && query.get("operation") !== all.operation) continue;
      const labels = Object.fromEntries(groupBy.map((key) => [key, all[key as keyof typeof all]]));
      const name = JSON.stringify(labels);
      const group = groups.get(name) ?? { labels, buckets: new Map<number, Span[]>() };
      groups.set(name, group);
      const bucket = Math.floor(at / stepMs) * stepMs;
      group.buckets.set(bucket, [...(group.buckets.get(bucket) ?? []), span]);
    }
  }
  return ok({
    stepNano: stepMs * 1e6,
    series: [...groups.values()].map(({ labels, buckets }) => ({
      labels,
      points: [...buckets].sort((a, b) => a[0] - b[0]).map(([at, spans]) => point(at, spans)),
    })),
    estimated: false,
  });
}

/** Milliseconds of a step; the one unit that the search form does not know is the year. */
function stepOf(text: string): number {
  const years = /^(\d+)y$/.exec(text);
  return years ? Number(years[1]) * 365 * 86_400_000 : (parseDuration(text) ?? 60e9) / 1e6;
}

function point(atMs: number, spans: Span[]): AggregatePoint {
  const sorted = spans.map((span) => span.durationNano).sort((a, b) => a - b);
  const quantile = (q: number) => sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? 0;
  const errorCount = spans.filter(spanFailed).length;
  return {
    timeUnixNano: msToNano(atMs),
    requestCount: spans.length,
    errorCount,
    errorRate: errorCount / spans.length,
    successRate: 1 - errorCount / spans.length,
    p50Nano: quantile(0.5),
    p75Nano: quantile(0.75),
    p90Nano: quantile(0.9),
    p95Nano: quantile(0.95),
    p99Nano: quantile(0.99),
    maxNano: quantile(1),
  };
}

function status(traces: Trace[]): Reply {
  return ok({
    version: "0.1.0",
    spanCount: traces.reduce((sum, trace) => sum + trace.spanCount, 0),
    traceCount: traces.length,
    storeBytes: 0,
    freshBlockCount: 0,
    unsealedSpanCount: 0,
    oldestUnixNano: traces[0]?.startUnixNano ?? null,
    newestUnixNano: traces.at(-1)?.startUnixNano ?? null,
    ingestSpansPerSecond: 0,
    limits: {},
  });
}

function serviceNames(traces: Trace[]): string[] {
  return [...new Set(traces.flatMap((trace) => trace.services.map((service) => service.name)))].sort();
}

function everySpan(trace: Trace): { segment: Segment; span: Span }[] {
  return trace.segments.flatMap((segment) => segment.spans.map((span) => ({ segment, span })));
}

function ok(body: unknown): Reply {
  return { status: 200, body };
}

function problem(status: number, title: string, detail: string): Reply {
  return { status, body: { type: "about:blank", title, status, detail } };
}
