"""Sends one span as the SDK's own variables (OTEL_EXPORTER_OTLP_*) say, and prints its trace ID.

python one_span.py grpc|http
"""

import sys

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult

if sys.argv[1] == "grpc":
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
else:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter


class Checked(SpanExporter):
    """Ends the process with 1 if the span was refused, which the SDK itself only logs."""

    def __init__(self):
        self.inner = OTLPSpanExporter()
        self.failed = False

    def export(self, spans):
        result = self.inner.export(spans)
        self.failed |= result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self):
        self.inner.shutdown()


exporter = Checked()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
span = provider.get_tracer("one").start_span("one")
span.end()
provider.shutdown()
print(f"{span.get_span_context().trace_id:032x}")
sys.exit(exporter.failed)
