/**
 * Sends a story by OpenTelemetry's SDK for Node.js and prints what it sent (see ../README.md).
 *
 *     node emit.mjs grpc|http-proto|http-json HOST:PORT none|gzip
 */
import { randomBytes } from "node:crypto";
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, TraceFlags, createTraceState, trace } from "@opentelemetry/api";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  BatchSpanProcessor,
  InMemorySpanExporter,
  NodeTracerProvider,
  SimpleSpanProcessor,
} from "@opentelemetry/sdk-trace-node";

const MOST_ATTRIBUTES = 20;
const MOST_EVENTS = 4;
const FAN = 200;

async function exporter(protocol, address, compression) {
  if (protocol === "grpc") {
    const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc");
    return new OTLPTraceExporter({ url: `http://${address}`, compression });
  }
  const module = protocol === "http-json" ? "http" : "proto";
  const { OTLPTraceExporter } = await import(`@opentelemetry/exporter-trace-otlp-${module}`);
  return new OTLPTraceExporter({ url: `http://${address}/v1/traces`, compression });
}

/** Runs `tell` inside a span, which it ends. */
function inSpan(tracer, name, options, context, tell = () => {}) {
  const span = tracer.startSpan(name, options, context);
  tell(span, trace.setSpan(context, span));
  span.end();
  return span;
}

function tellStory(tracer, orders) {
  const outside = trace.setSpanContext(ROOT_CONTEXT, {
    traceId: randomBytes(16).toString("hex"),
    spanId: "1020304050607080",
    traceFlags: TraceFlags.SAMPLED,
    traceState: createTraceState("vendor=a:1;b,other=x"),
    isRemote: true,
  });
  const attributes = {
    text: "plain",
    "text.empty": "",
    "text.unicode": 'Grüße, 漢字, עברית, 🚀, \t"\\\u2028',
    "text.long": "x".repeat(10_000),
    "bool.true": true,
    "bool.false": false,
    int: 42,
    "int.zero": 0,
    "int.large": -Number.MAX_SAFE_INTEGER,
    double: 0.1,
    "double.tiny": -5e-324,
    texts: ["a", "", "ß"],
    bools: [true, false],
    ints: [-1, 0, 4_294_967_296],
    doubles: [0.5, -0.25],
    empty: [],
  };
  let sent;
  inSpan(tracer, "GET /checkout/{id}", { kind: SpanKind.SERVER, attributes }, outside, (server, context) => {
    server.setAttribute("http.response.status_code", 500);
    server.addEvent("received", { bytes: 512, chunks: [1, 2, 3], fast: true }, [1_700_000_000, 123_456_789]);
    inSpan(tracer, "validate ✓", {}, context, (span) => span.setStatus({ code: SpanStatusCode.OK }));
    const client = { kind: SpanKind.CLIENT, attributes: { "peer.service": "payment" } };
    inSpan(tracer, "charge", client, context, (span) => {
      span.recordException(new TypeError("card refused: 花"));
      span.setStatus({ code: SpanStatusCode.ERROR, message: "card refused" });
    });
    server.setStatus({ code: SpanStatusCode.ERROR, message: "payment failed – sorry" });
    sent = inSpan(orders, "orders publish", { kind: SpanKind.PRODUCER }, context).spanContext();
    inSpan(tracer, "too much of everything", {}, context, (span) => {
      for (let number = 0; number < MOST_ATTRIBUTES + 6; number++) span.setAttribute(`number.${number}`, number);
      for (let number = 0; number < MOST_EVENTS + 3; number++) span.addEvent(`event ${number}`);
    });
  });
  const nowhere = {
    traceId: "00000000000000000000000000000001",
    spanId: "0000000000000002",
    traceFlags: TraceFlags.NONE,
    traceState: createTraceState("k=v"),
    isRemote: true,
  };
  const links = [
    { context: sent, attributes: { "messaging.batch.index": 0 } },
    { context: nowhere, attributes: { why: "a stranger", some: ["x"] } },
  ];
  inSpan(orders, "orders process", { kind: SpanKind.CONSUMER, links }, ROOT_CONTEXT);
  inSpan(tracer, "fan out", {}, ROOT_CONTEXT, (_, context) => {
    for (let number = 0; number < FAN; number++) {
      inSpan(tracer, `branch ${number % 7}`, { attributes: { number } }, context);
    }
  });
}

function value(of) {
  if (typeof of === "boolean") return { boolValue: of };
  if (typeof of === "string") return { stringValue: of };
  if (Number.isInteger(of)) return { intValue: String(of) };
  if (typeof of === "number") return { doubleValue: of };
  return { arrayValue: { values: of.map(value) } };
}

const attributes = (of) => Object.entries(of ?? {}).map(([key, one]) => ({ key, value: value(one) }));
const nanos = ([seconds, rest]) => String(BigInt(seconds) * 1_000_000_000n + BigInt(rest));
const state = (context) => context.traceState?.serialize() ?? "";

function expected(span) {
  const context = span.spanContext();
  return {
    traceId: context.traceId,
    spanId: context.spanId,
    parentSpanId: span.parentSpanContext?.spanId ?? "",
    traceState: state(context),
    parentIsRemote: span.parentSpanContext?.isRemote ?? false,
    name: span.name,
    kind: SpanKind[span.kind],
    startTimeUnixNano: nanos(span.startTime),
    endTimeUnixNano: nanos(span.endTime),
    attributes: attributes(span.attributes),
    droppedAttributesCount: span.droppedAttributesCount,
    events: span.events.map((event) => ({
      timeUnixNano: nanos(event.time),
      name: event.name,
      attributes: attributes(event.attributes),
    })),
    droppedEventsCount: span.droppedEventsCount,
    links: span.links.map((link) => ({
      traceId: link.context.traceId,
      spanId: link.context.spanId,
      traceState: state(link.context),
      attributes: attributes(link.attributes),
    })),
    droppedLinksCount: span.droppedLinksCount,
    status: { code: SpanStatusCode[span.status.code], message: span.status.message ?? "" },
    resource: attributes(span.resource.attributes),
    resourceSchemaUrl: span.resource.schemaUrl ?? "",
    scope: { name: span.instrumentationScope.name, version: span.instrumentationScope.version ?? "", attributes: [] },
    scopeSchemaUrl: span.instrumentationScope.schemaUrl ?? "",
  };
}

const [protocol, address, compression] = process.argv.slice(2);
const memory = new InMemorySpanExporter();
const provider = new NodeTracerProvider({
  resource: resourceFromAttributes(
    {
      "service.name": "sdk-node",
      "service.namespace": "shop",
      "service.instance.id": `node-${protocol}-${compression}`,
      replicas: 3,
      zones: ["eu-1a", "eu-1b"],
    },
    { schemaUrl: "https://opentelemetry.io/schemas/1.36.0" },
  ),
  spanLimits: { attributeCountLimit: MOST_ATTRIBUTES, eventCountLimit: MOST_EVENTS },
  spanProcessors: [
    new SimpleSpanProcessor(memory),
    new BatchSpanProcessor(await exporter(protocol, address, compression)),
  ],
});
tellStory(
  provider.getTracer("shop.checkout", "1.2.3", { schemaUrl: "https://opentelemetry.io/schemas/1.30.0" }),
  provider.getTracer("shop.orders"),
);
await provider.forceFlush();
// Shutting down empties the memory too.
const sent = memory.getFinishedSpans().map(expected);
await provider.shutdown();
process.stdout.write(JSON.stringify(sent));
