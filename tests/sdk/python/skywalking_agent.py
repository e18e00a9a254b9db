"""Sends segments by SkyWalking's own agent and prints what it sent, as JSON.

python skywalking_agent.py HOST:PORT
"""

import json
import sys

from skywalking import Component, Layer, agent, config
from skywalking.trace.carrier import Carrier
from skywalking.trace.context import get_context
from skywalking.trace.tags import TagDbType, TagHttpMethod, TagHttpURL

config.init(
    agent_collector_backend_services=sys.argv[1],
    agent_name="shop",
    agent_instance_name="shop-1",
    agent_protocol="grpc",
    agent_logging_level="CRITICAL",
)
agent.start()
context = get_context()
sent = []


def note(span):
    segment = span.context.segment
    sent.append(
        {
            "trace": str(segment.related_traces[0]),
            "segment": str(segment.segment_id),
            "start": span.start_time,
            "end": span.end_time,
        }
    )


# The call of one service, with the head that it sends along ...
with context.new_entry_span(op="/buy") as front:
    front.layer = Layer.Http
    with context.new_exit_span(op="/orders", peer="orders:8080", component=Component.Requests) as call:
        call.layer = Layer.Http
        call.tag(TagHttpURL("http://orders:8080/orders"))
        carrier = call.inject()
note(front)
# ... and what the called one does, with a query that fails.
received = Carrier()
for item in received:
    item.val = next(sending.val for sending in carrier if sending.key == item.key)
context = get_context()
with context.new_entry_span(op="/orders", carrier=received) as entry:
    entry.layer = Layer.Http
    entry.component = Component.Flask
    entry.tag(TagHttpMethod("GET"))
    try:
        with context.new_exit_span(op="Mysql/query", peer="db:3306", component=Component.PyMysql) as query:
            query.layer = Layer.Database
            query.tag(TagDbType("mysql"))
            raise ValueError("no stock")
    except ValueError:
        pass
note(entry)
# The agent sends what waits when the process ends.
print(json.dumps(sent))
