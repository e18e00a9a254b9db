"""Sends a story by OpenTelemetry's SDK for Python and prints what it sent (see ../README.md).

python emit.py grpc|http HOST:PORT none|gzip
"""

import json
import math
import random
import sys

from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

MOST_ATTRIBUTES = 24
MOST_EVENTS = 4
FAN = 200


def exporter(protocol, address, compression):
    if protocol == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        chosen = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
        return OTLPSpanExporter(endpoint=f"http://{address}", insecure=True, compression=chosen)
    if protocol == "http":
        from opentelemetry.exporter.otlp.proto.http import Compression
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
        return OTLPSpanExporter(endpoint=f"http://{address}/v1/traces", compression=chosen)
    raise SystemExit(f"grpc or http, not {protocol}")


def tell_story(tracer, other_tracer):
    caller = SpanContext(
        trace_id=random.getrandbits(128) | 1,
        span_id=0x1020304050607080,
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState([("vendor", "a:1;b"), ("other", "x")]),
    )
    outside = trace.set_span_in_context(NonRecordingSpan(caller))
    every_type = {
        "text": "plain",
        "text.empty": "",
        "text.unicode": "Grüße, 漢字, עברית, 🚀, \t\"\\\u2028",
        "text.long": "x" * 10_000,
        "bool.true": True,
        "bool.false": False,
        "int": 42,
        "int.zero": 0,
        "int.least": -(2**63),
        "int.most": 2**63 - 1,
        "double": 0.1,
        "double.whole": 3.0,
        "double.tiny": -5e-324,
        "double.huge": 1.7976931348623157e308,
        "double.infinite": math.inf,
        "texts": ["a", "", "ß"],
        "bools": [True, False],
        "ints": [-1, 0, 2**53 + 1],
        "doubles": [0.5, -0.25],
        "empty": [],
    }
    with tracer.start_as_current_span("GET /checkout/{id}", outside, SpanKind.SERVER, every_type) as server:
        server.set_attribute("http.response.status_code", 500)
        server.add_event("received", {"bytes": 512, "chunks": [1, 2, 3], "fast": True}, timestamp=1_700_000_000_123_456_789)
        with tracer.start_as_current_span("validate ✓", kind=SpanKind.INTERNAL) as inner:
            inner.set_status(Status(StatusCode.OK))
        try:
            with tracer.start_as_current_span("charge", kind=SpanKind.CLIENT, attributes={"peer.service": "payment"}):
                raise ValueError("card refused: 花")
        except ValueError:
            server.set_status(Status(StatusCode.ERROR, "payment failed – sorry"))
        with other_tracer.start_as_current_span("orders publish", kind=SpanKind.PRODUCER) as producer:
            sent = producer.get_span_context()
        with tracer.start_as_current_span("too much of everything") as busy:
            for number in range(MOST_ATTRIBUTES + 6):
                busy.set_attribute(f"number.{number}", number)
            for number in range(MOST_EVENTS + 3):
                busy.add_event(f"event {number}")
    nowhere = SpanContext(0x1, 0x2, True, TraceFlags(0), TraceState([("k", "v")]))
    links = [Link(sent, {"messaging.batch.index": 0}), Link(nowhere, {"why": "a stranger", "some": ["x"]})]
    with other_tracer.start_as_current_span("orders process", trace.set_span_in_context(trace.INVALID_SPAN), SpanKind.CONSUMER, links=links):
        pass
    with tracer.start_as_current_span("fan out", trace.set_span_in_context(trace.INVALID_SPAN)):
        for number in range(FAN):
            with tracer.start_as_current_span(f"branch {number % 7}", attributes={"number": number}):
                pass


def value(of):
    if isinstance(of, bool):
        return {"boolValue": of}
    if isinstance(of, int):
        return {"intValue": str(of)}
    if isinstance(of, float):
        return {"doubleValue": of if math.isfinite(of) else "Infinity"}
    if isinstance(of, str):
        return {"stringValue": of}
    return {"arrayValue": {"values": [value(one) for one in of]}}


def attributes(of):
    return [{"key": key, "value": value(one)} for key, one in (of or {}).items()]


def state(of):
    return of.trace_state.to_header() if of.trace_state else ""


def expected(span):
    parent = span.parent
    return {
        "traceId": f"{span.context.trace_id:032x}",
        "spanId": f"{span.context.span_id:016x}",
        "parentSpanId": f"{parent.span_id:016x}" if parent else "",
        "traceState": state(span.context),
        "parentIsRemote": bool(parent and parent.is_remote),
        "name": span.name,
        "kind": span.kind.name,
        "startTimeUnixNano": str(span.start_time),
        "endTimeUnixNano": str(span.end_time),
        "attributes": attributes(span.attributes),
        "droppedAttributesCount": span.dropped_attributes,
        "events": [
            {"timeUnixNano": str(event.timestamp), "name": event.name, "attributes": attributes(event.attributes)}
            for event in span.events
        ],
        "droppedEventsCount": span.dropped_events,
        "links": [
            {
                "traceId": f"{link.context.trace_id:032x}",
                "spanId": f"{link.context.span_id:016x}",
                # This SDK's exporters send links without their trace state.
                "traceState": "",
                "attributes": attributes(link.attributes),
            }
            for link in span.links
        ],
        "droppedLinksCount": span.dropped_links,
        "status": {"code": span.status.status_code.name, "message": span.status.description or ""},
        "resource": attributes(span.resource.attributes),
        "resourceSchemaUrl": span.resource.schema_url,
        "scope": {
            "name": span.instrumentation_scope.name,
            "version": span.instrumentation_scope.version or "",
            "attributes": attributes(span.instrumentation_scope.attributes),
        },
        "scopeSchemaUrl": span.instrumentation_scope.schema_url or "",
    }


def main():
    protocol, address, compression = sys.argv[1:]
    resource = Resource.create(
        {
            "service.name": "sdk-python",
            "service.namespace": "shop",
            "service.instance.id": f"python-{protocol}-{compression}",
            "replicas": 3,
            "zones": ["eu-1a", "eu-1b"],
        },
        schema_url="https://opentelemetry.io/schemas/1.36.0",
    )
    limits = SpanLimits(max_span_attributes=MOST_ATTRIBUTES, max_events=MOST_EVENTS)
    provider = TracerProvider(resource=resource, span_limits=limits)
    memory = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.add_span_processor(BatchSpanProcessor(exporter(protocol, address, compression)))
    tracer = provider.get_tracer(
        "shop.checkout", "1.2.3", "https://opentelemetry.io/schemas/1.30.0", {"library.tier": 1, "library.tags": ["a", "b"]}
    )
    tell_story(tracer, provider.get_tracer("shop.orders"))
    if not provider.force_flush(30_000):
        raise SystemExit("not everything was sent")
    provider.shutdown()
    json.dump([expected(span) for span in memory.get_finished_spans()], sys.stdout)


main()
