"""Sends spans by Datadog's own tracer and prints what it sent, as JSON.

python datadog.py HOST:PORT v0.4|v0.5
"""

import json
import os
import sys

address, version = sys.argv[1:]
os.environ.update(
    DD_TRACE_AGENT_URL=f"http://{address}",
    DD_TRACE_API_VERSION=version,
    DD_SERVICE="shop",
    DD_ENV="prod",
    DD_VERSION="1.2",
    DD_TRACE_PARTIAL_FLUSH_ENABLED="false",
)

from ddtrace.trace import tracer  # noqa: E402  (it reads its variables when it is imported)


def shown(span):
    return {
        "trace": f"{span.trace_id:032x}",
        "span": f"{span.span_id:016x}",
        "start": span.start_ns,
        "duration": span.duration_ns,
    }


with tracer.trace("flask.request", resource="GET /orders/{id}", span_type="web") as root:
    root.set_tag("span.kind", "server")
    root.set_tag("http.status_code", "200")
    root.set_tag("name", "ä")
    root.set_metric("ratio", 0.5)
    try:
        with tracer.trace("redis.command", service="cache", resource="GET order:4711", span_type="redis") as call:
            call.set_tag("span.kind", "client")
            call.set_metric("items", 3)
            call.set_link(trace_id=0xAB00000000000000CD, span_id=0xEF, tracestate="a=b", flags=1, attributes={"why": "retry"})
            raise ValueError("no stock")
    except ValueError as error:
        root.record_exception(error, attributes={"attempt": 2, "last": True})
tracer.flush()
print(json.dumps([shown(root), shown(call)]))
tracer.shutdown()
