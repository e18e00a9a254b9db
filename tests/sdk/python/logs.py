"""Logs inside spans by OpenTelemetry's SDK for Python and prints what it sent (see ../README.md).

python logs.py grpc|http TRACES-HOST:PORT none|gzip
"""

import json
import logging
import sys
import warnings

from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider, LoggingHandler
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

warnings.simplefilter("ignore")


def exporters(protocol, address, compression):
    if protocol == "grpc":
        import grpc
        from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

        chosen = grpc.Compression.Gzip if compression == "gzip" else grpc.Compression.NoCompression
        to = {"endpoint": f"http://{address}", "insecure": True, "compression": chosen}
        return OTLPSpanExporter(**to), OTLPLogExporter(**to)
    from opentelemetry.exporter.otlp.proto.http import Compression
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    chosen = Compression.Gzip if compression == "gzip" else Compression.NoCompression
    spans = OTLPSpanExporter(endpoint=f"http://{address}/v1/traces", compression=chosen)
    return spans, OTLPLogExporter(endpoint=f"http://{address}/v1/logs", compression=chosen)


def tell_story(tracer, plain, otel):
    plain.warning("outside of any span")
    with tracer.start_as_current_span("POST /orders", kind=trace.SpanKind.SERVER) as root:
        plain.info("order %s for %d items", "a-1", 3, extra={"order.id": "a-1", "items": 3, "paid": True})
        with tracer.start_as_current_span("charge", record_exception=False) as charge:
            try:
                raise ValueError("the card is refused")
            except ValueError as error:
                # Both ways, as OTEL_SEMCONV_EXCEPTION_SIGNAL_OPT_IN=logs/dup sends it.
                charge.record_exception(error)
                charge.set_status(trace.StatusCode.ERROR)
                plain.exception("charging failed")
        otel.emit(
            LogRecord(
                timestamp=root.start_time + 5,
                severity_number=SeverityNumber.DEBUG,
                severity_text="debug",
                body={"list": [1, 2.5, None, "x"], "deep": {"bytes": b"\x00\xff"}},
                event_name="order.accepted",
                attributes={"order.id": "a-1"},
            )
        )


def value(body):
    if isinstance(body, bytes):
        return {"bytes": body.hex()}
    if isinstance(body, dict):
        return {key: value(item) for key, item in body.items()}
    if isinstance(body, (list, tuple)):
        return [value(item) for item in body]
    return body


def printed(readable):
    record = readable.log_record
    return {
        "traceId": f"{record.trace_id:032x}" if record.trace_id else None,
        "spanId": f"{record.span_id:016x}" if record.span_id else None,
        "timeUnixNano": str(record.timestamp or 0),
        "observedTimeUnixNano": str(record.observed_timestamp or 0),
        "severityNumber": record.severity_number.value if record.severity_number else 0,
        "severityText": record.severity_text or "",
        "body": value(record.body),
        "eventName": record.event_name or "",
        "attributes": {key: value(item) for key, item in (record.attributes or {}).items()},
        "flags": int(record.trace_flags or 0),
        "scope": readable.instrumentation_scope.name,
    }


def main():
    protocol, address, compression = sys.argv[1:]
    resource = Resource.create({"service.name": f"orders-{protocol}-{compression}", "service.instance.id": "o-1"})
    span_exporter, log_exporter = exporters(protocol, address, compression)
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(span_exporter))
    loggers, memory = LoggerProvider(resource=resource), InMemoryLogRecordExporter()
    loggers.add_log_record_processor(SimpleLogRecordProcessor(memory))
    loggers.add_log_record_processor(BatchLogRecordProcessor(log_exporter))
    plain = logging.getLogger("shop.orders")
    plain.setLevel(logging.DEBUG)
    plain.propagate = False
    plain.addHandler(LoggingHandler(level=logging.DEBUG, logger_provider=loggers))
    tell_story(tracers.get_tracer("shop"), plain, loggers.get_logger("shop.events"))
    # Logs come before their spans.
    loggers.force_flush()
    loggers.shutdown()
    tracers.force_flush()
    tracers.shutdown()
    print(json.dumps([printed(record) for record in memory.get_finished_logs()]))


main()
