/** A small shop's traces for development without a server: the same ones on every start. */
import type { KeyValue, Span, SpanEvent, Trace } from "../../src/api/types";
import { oddSpans } from "../odd";
import { assemble, type FlatSpan } from "./assemble";

interface Step {
  service: string;
  name: string;
  kind: Span["kind"];
  /** Typical milliseconds of its own work. */
  own: number;
  attributes?: [string, string | number | boolean][];
  calls?: Step[];
  /** Chance that it fails, and with what code. */
  fails?: [number, string];
}

const DB = (statement: string, own: number): Step => ({
  service: "catalogue",
  name: statement.split(" ").slice(0, 1).join(" "),
  kind: "CLIENT",
  own,
  attributes: [
    ["db.system.name", "postgresql"],
    ["db.query.text", statement],
  ],
});

function http(
  service: string,
  method: string,
  route: string,
  own: number,
  calls: Step[],
  fails?: [number, string],
): Step {
  return {
    service,
    name: `${method} ${route}`,
    kind: "SERVER",
    own,
    attributes: [
      ["http.request.method", method],
      ["http.route", route],
    ],
    calls,
    ...(fails ? { fails } : {}),
  };
}

const PAYMENT = http("payment", "POST", "/charge", 45, [
  { service: "payment", name: "verify card", kind: "INTERNAL", own: 12, fails: [0.12, "CardDeclined"] },
  { service: "payment", name: "fraud score", kind: "INTERNAL", own: 20 },
]);
const CART = http("cart", "GET", "/cart/{id}", 4, [
  { service: "cart", name: "HGETALL", kind: "CLIENT", own: 2, attributes: [["db.system.name", "redis"]] },
]);
const CATALOGUE = http("catalogue", "GET", "/products", 8, [
  DB("SELECT id, name, price FROM products WHERE category = $1 LIMIT 50", 14),
  DB("SELECT count(*) FROM stock WHERE product_id = ANY($1)", 6),
]);
const SHIPPING: Step = {
  service: "shipping",
  name: "orders process",
  kind: "CONSUMER",
  own: 30,
  attributes: [["messaging.system", "kafka"]],
  calls: [{ service: "shipping", name: "print label", kind: "INTERNAL", own: 25 }],
};
const CHECKOUT = http(
  "checkout",
  "POST",
  "/checkout",
  10,
  [
    CART,
    PAYMENT,
    { service: "checkout", name: "orders publish", kind: "PRODUCER", own: 3, calls: [SHIPPING] },
  ],
  [0.05, "504"],
);

const REQUESTS: [number, Step][] = [
  [5, http("gateway", "GET", "/", 2, [http("frontend", "GET", "/home", 6, [CATALOGUE])])],
  [3, http("gateway", "GET", "/cart", 2, [http("frontend", "GET", "/cart", 5, [CART])])],
  [2, http("gateway", "POST", "/checkout", 2, [http("frontend", "POST", "/checkout", 7, [CHECKOUT])])],
];

const TRACES = 420;
const HOUR_NANO = 3600_000_000_000n;
const BIG_TRACE_ID = "000000000000000000000000000b1600";
const ODD_TRACE_ID = "0000000000000000000000000000add0";
const BIG_TRACE_SPANS = 20_000;
const MEDIUM_TRACE_ID = "000000000000000000000000000ed100";
const MEDIUM_TRACE_SPANS = 400;

/** Mulberry32: small, seeded, good enough for made-up latencies. */
function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4294967296;
  };
}

export function makeWorld(now: bigint): Trace[] {
  const next = random(7);
  const hex = (digits: number) =>
    Array.from({ length: digits }, () => Math.floor(next() * 16).toString(16)).join("");
  const traces: Trace[] = [];
  for (let i = 0; i < TRACES; i++) {
    const back = BigInt(Math.floor((i / TRACES) ** 1.2 * 3_500_000)) * 1_000_000n;
    const spans: FlatSpan[] = [];
    const slow = next() < 0.04 ? 12 : 1;
    run(spans, pick(next), hex(32), null, now - back - 2_000_000_000n, slow, next, hex);
    traces.push(assemble(spans));
  }
  traces.push(assemble(oddTrace(now - 60_000_000_000n, traces[3] as Trace)));
  traces.push(assemble(crowdedTrace(BIG_TRACE_ID, BIG_TRACE_SPANS, now - HOUR_NANO / 2n, next, hex)));
  traces.push(assemble(crowdedTrace(MEDIUM_TRACE_ID, MEDIUM_TRACE_SPANS, now - HOUR_NANO / 3n, next, hex)));
  return [...traces, ...oddTraces(now)];
}

function oddTraces(now: bigint): Trace[] {
  const spans = oddSpans(now);
  return [...new Set(spans.map((span) => span.traceId))].map((traceId) =>
    assemble(
      spans
        .filter((span) => span.traceId === traceId)
        .map((span) => ({
          ...span,
          instance: "1",
          start: span.startNano,
          duration: Number(span.durationNano),
          status: span.failed ? "ERROR" : "UNSET",
          attributes: Object.entries(span.attributes).map(([key, value]) => keyValue(key, value)),
          events: span.events.map(({ name, timeNano }) => ({ name, timeUnixNano: String(timeNano) })),
        })),
    ),
  );
}

function pick(next: () => number): Step {
  let at = next() * REQUESTS.reduce((sum, [weight]) => sum + weight, 0);
  for (const [weight, step] of REQUESTS) {
    at -= weight;
    if (at <= 0) return step;
  }
  return (REQUESTS[0] as [number, Step])[1];
}

/** Runs a step and what it calls, one after the other; returns when it ended and how it went. */
function run(
  spans: FlatSpan[],
  step: Step,
  traceId: string,
  parent: FlatSpan | null,
  start: bigint,
  slow: number,
  next: () => number,
  hex: (digits: number) => string,
): FlatSpan {
  const own = step.own * slow * (0.5 + next() ** 3 * 3) * 1e6;
  const span: FlatSpan = {
    traceId,
    id: hex(16),
    parentId: parent?.id ?? null,
    service: step.service,
    instance:
      parent?.service === step.service ? parent.instance : `${step.service}-${1 + Math.floor(next() * 3)}`,
    name: step.name,
    kind: step.kind,
    start,
    duration: 0,
    status: "UNSET",
    attributes: (step.attributes ?? []).map(([key, value]) => keyValue(key, value)),
  };
  if (parent === null) span.attributes.push(keyValue("user.id", `u-${Math.floor(next() * 50)}`));
  spans.push(span);
  let at = start + BigInt(Math.floor(own * 0.4));
  let failure: string | null = step.fails && next() < step.fails[0] ? step.fails[1] : null;
  for (const call of step.calls ?? []) {
    const below = run(spans, call, traceId, span, at, slow, next, hex);
    if (call.kind !== "PRODUCER" && call.kind !== "CONSUMER")
      at = below.start + BigInt(below.duration) + 400_000n;
    if (below.status === "ERROR" && call.kind !== "CONSUMER")
      failure ??= step.kind === "SERVER" ? "500" : "upstream";
  }
  span.duration = Number(at - start) + Math.floor(own * 0.6);
  if (failure) fail(span, failure);
  else if (step.kind === "SERVER") span.attributes.push(keyValue("http.response.status_code", 200));
  return span;
}

function fail(span: FlatSpan, code: string) {
  span.status = "ERROR";
  if (/^\d+$/.test(code)) {
    span.attributes.push(keyValue("http.response.status_code", Number(code)));
    return;
  }
  span.statusMessage = `${code}: the issuer declined the payment`;
  span.attributes.push(keyValue("error.type", code));
  const event: SpanEvent = {
    timeUnixNano: (span.start + BigInt(Math.floor(span.duration * 0.8))).toString(),
    name: "exception",
    attributes: [
      keyValue("exception.type", code),
      keyValue("exception.message", "the issuer declined the payment"),
      keyValue(
        "exception.stacktrace",
        `${code}\n    at verify (card.rs:112)\n    at charge (payment.rs:48)\n    at handle (main.rs:20)`,
      ),
    ],
  };
  span.events = [event];
}

/** One span of everything the details must cope with. */
function oddTrace(start: bigint, other: Trace): FlatSpan[] {
  const base = {
    traceId: ODD_TRACE_ID,
    service: "unknown_service",
    instance: "i-1",
    status: "UNSET" as const,
  };
  return [
    {
      ...base,
      id: "00000000000000a1",
      parentId: "00000000000000ff",
      name: "everything at once <b>&amp;</b>",
      kind: "SERVER",
      start,
      duration: 1_000_000_000,
      attributes: [
        keyValue("a.string", 'with "quotes" and ünïcödé'),
        keyValue("a.bool", true),
        { key: "an.int", value: { intValue: "9223372036854775807" } },
        { key: "a.double", value: { doubleValue: 0.1 } },
        { key: "some.bytes", value: { bytesValue: "3q2+7w==" } },
        { key: "an.array", value: { arrayValue: { values: [{ stringValue: "x" }, { intValue: "2" }] } } },
        { key: "a.map", value: { kvlistValue: { values: [keyValue("inner", 1), keyValue("deep", "yes")] } } },
        { key: "nothing" },
        keyValue("", "the key is empty"),
        keyValue("twice", "first"),
        keyValue("twice", "second"),
        keyValue("long", "lorem ipsum ".repeat(400)),
      ],
      events: [
        {
          timeUnixNano: (start + 5_000_000n).toString(),
          name: "cache.miss",
          attributes: [keyValue("key", "k1")],
          droppedAttributesCount: 2,
        },
        { timeUnixNano: (start + 900_000_000n).toString(), name: "retry" },
      ],
      links: [
        {
          traceId: other.id,
          spanId: other.segments[0]?.id ?? "",
          traceState: "a=b",
          attributes: [keyValue("reason", "batch")],
          flags: 1,
        },
      ],
    },
    {
      ...base,
      id: "00000000000000a2",
      parentId: "00000000000000a1",
      name: "ends before it starts",
      kind: "INTERNAL",
      start: start + 200_000_000n,
      duration: 0,
      attributes: [keyValue("error", true)],
      warnings: ["ends 20 ms before it starts; shown with duration 0"],
    },
  ];
}

function crowdedTrace(
  traceId: string,
  count: number,
  start: bigint,
  next: () => number,
  hex: (digits: number) => string,
): FlatSpan[] {
  const services = ["gateway", "frontend", "catalogue", "cart", "checkout", "payment", "shipping", "batch"];
  const spans: FlatSpan[] = [];
  for (let i = 0; i < count; i++) {
    const parent = i === 0 ? null : (spans[Math.floor(i * next() ** 1.5)] as FlatSpan);
    const service =
      parent && next() < 0.7 ? parent.service : (services[Math.floor(next() * services.length)] as string);
    const offset = parent ? BigInt(Math.floor(next() * parent.duration * 0.6)) : 0n;
    const failed = i > 0 && next() < 0.01;
    spans.push({
      traceId,
      id: hex(16),
      parentId: parent?.id ?? null,
      service,
      instance: parent?.service === service ? parent.instance : `${service}-1`,
      name: `step ${i}`,
      kind: parent?.service === service ? "INTERNAL" : "SERVER",
      start: (parent?.start ?? start) + offset,
      duration: parent ? Math.max(1000, Math.floor(parent.duration * (0.05 + next() * 0.3))) : 90_000_000_000,
      status: failed ? "ERROR" : "UNSET",
      attributes: [keyValue("item", i), ...(failed ? [keyValue("error.type", "Timeout")] : [])],
    });
  }
  return spans;
}

function keyValue(key: string, value: string | number | boolean): KeyValue {
  if (typeof value === "string") return { key, value: { stringValue: value } };
  if (typeof value === "boolean") return { key, value: { boolValue: value } };
  return { key, value: { intValue: String(value) } };
}
