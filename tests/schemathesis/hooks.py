"""What schemathesis has to know beyond query/openapi.json to make requests that a client would make.

The description names formats (`traceql`, `range-time`, `step`) that no generator knows, and JSON Schema cannot say
how parameters depend on each other. Only requests that are meant to be valid are changed here; those that break the
description go out as they were generated.
"""

import json
import re
import time
import urllib.parse
import urllib.request
from datetime import datetime, timezone
from functools import cache

import schemathesis
from hypothesis import strategies as st

UNITS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "μs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
    "w": 7 * 86400 * 10**9,
    "y": 365 * 86400 * 10**9,
}
LOOKBACK = UNITS["h"]
# One less than the limit of series, whose range may touch one point more.
MAX_POINTS = 10_998

# === formats ===


@schemathesis.deserializer("application/x-ndjson")
def last_line(context, response):
    """The description is of one line; the last one is the report of a check."""
    lines = response.content.decode().splitlines()
    return json.loads(lines[-1]) if lines else {"resourceSpans": []}


texts = st.text(st.characters(codec="utf-8", exclude_characters='"\\', exclude_categories=["Cc", "Cs"]), max_size=12)
strings = texts.map(lambda text: f'"{text}"')
numbers = st.integers(-(2**63), 2**63 - 1).map(str)
durations = st.builds(lambda n, unit: f"{n}{unit}", st.integers(0, 1000), st.sampled_from(["ns", "us", "ms", "s", "m", "h"]))
attributes = st.sampled_from(["span.http.route", ".customer", "resource.service.name", 'span."a b"'])
equality = st.sampled_from(["=", "!="])
order = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])


def comparison(left, operator, right):
    return st.builds(lambda a, b, c: f"{a} {b} {c}", left, operator, right)


conditions = st.one_of(
    st.just("failed"),
    comparison(st.just("name"), equality, strings),
    comparison(st.just("duration"), order, durations),
    comparison(st.just("status"), equality, st.sampled_from(["ok", "error", "unset"])),
    comparison(st.just("kind"), equality, st.sampled_from(["server", "client", "internal", "producer", "consumer"])),
    comparison(attributes, equality, st.one_of(strings, st.just("nil"), st.sampled_from(["true", "false"]))),
    comparison(attributes, order, numbers),
    comparison(attributes, st.sampled_from(["=~", "!~"]), st.sampled_from(['"a.*"', "`[0-9]+`"])),
)
expressions = st.recursive(
    conditions,
    lambda inner: st.builds(lambda a, op, b: f"({a} {op} {b})", inner, st.sampled_from(["&&", "||"]), inner),
    max_leaves=6,
)
schemathesis.openapi.format("traceql", st.one_of(st.just("{ }"), expressions.map(lambda text: f"{{ {text} }}")))

stages = st.sampled_from(
    [
        "rate()",
        "count_over_time() by(name, .customer)",
        "quantile_over_time(duration, 0.5, 0.99) by(resource.service.name)",
        "max_over_time(span.http.response.status_code) | topk(3)",
        "histogram_over_time(duration)",
        "compare({ failed })",
    ]
)
schemathesis.openapi.format(
    "traceql-series", st.builds(lambda text, stage: f"{{ {text} }} | {stage}", expressions, stages)
)

relative = st.builds(
    lambda n, unit: f"now-{n}{unit}", st.integers(0, 1000), st.sampled_from(["ns", "us", "ms", "s", "m", "h", "d"])
)
dates = st.datetimes(datetime(1970, 1, 2), datetime(2200, 1, 1)).map(lambda at: at.strftime("%Y-%m-%dT%H:%M:%SZ"))
schemathesis.openapi.format(
    "range-time",
    st.one_of(
        st.just("now"),
        relative,
        dates,
        st.integers(0, 10**11 - 1).map(str),
        st.integers(10**17, 2**64 - 1).map(str),
    ),
)
schemathesis.openapi.format(
    "step",
    st.one_of(
        st.integers(60, 10**6).map(str),
        st.builds(lambda n, unit: f"{n}{unit}", st.integers(1, 99), st.sampled_from(["m", "h", "d", "w", "y"])),
    ),
)

# === dependencies between parameters ===


def nanos_of_duration(text):
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)([a-zµμ]+)", text)
    return sum(int(float(number) * UNITS[unit]) for number, unit in parts)


def nanos_of_time(text):
    if text.startswith("now"):
        return time.time_ns() - nanos_of_duration(text[3:])
    if re.fullmatch(r"[0-9]+", text):
        return int(text) * (10**9 if len(text) <= 11 else 1)
    if re.fullmatch(r"[0-9]{1,11}\.[0-9]+", text):
        return int(float(text) * 10**9)
    moment = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return int(moment.astimezone(timezone.utc).timestamp() * 10**9)


def in_order(members):
    """A range may not end before it begins, and begins an hour ago unless it says where."""
    start, end = members.get("start"), members.get("end")
    if end and nanos_of_time(end) <= (nanos_of_time(start) if start else time.time_ns() - LOOKBACK):
        del members["end"]


@cache
def stored(base_url):
    """IDs of traces and names of services that the server has. Where the description lies says nothing about paths."""
    scheme, host = urllib.parse.urlsplit(base_url)[:2]
    base_url = f"{scheme}://{host}"
    with urllib.request.urlopen(f"{base_url}/api/v1/traces?start=0&limit=50") as answer:
        traces = [trace["id"] for trace in json.load(answer)["traces"]]
    with urllib.request.urlopen(f"{base_url}/api/v1/services") as answer:
        services = [service["name"] for service in json.load(answer)["services"]]
    return traces, services


def name_what_is_stored(case):
    """Generated names are never stored: without this, half of the answers would only ever be 404 or empty."""
    traces, services = stored(case.operation.base_url)
    path = case.path_parameters or {}
    if int(path.get("traceId", "0"), 16) % 2:
        path["traceId"] = traces[int(path["traceId"], 16) % len(traces)]
    if len(path.get("service", "")) % 2:
        path["service"] = services[len(path["service"]) % len(services)]


@schemathesis.hook
def before_call(context, case, kwargs):
    meta = case.meta
    if meta is None or not meta.generation.mode.is_positive:
        return
    name_what_is_stored(case)
    query = case.query or {}
    # Only the server makes cursors.
    query.pop("cursor", None)
    in_order(query)
    if query.get("step"):
        step = query["step"]
        width = int(step) * 10**9 if step.isdigit() else nanos_of_duration(step)
        end = nanos_of_time(query["end"]) if query.get("end") else time.time_ns()
        start = nanos_of_time(query["start"]) if query.get("start") else end - LOOKBACK
        if (min(end, 2**64) - start) / width > MAX_POINTS:
            del query["step"]
    if str(query.get("format", "")).startswith("otlp") and case.operation.path.endswith("{traceId}"):
        query.pop("attributes", None)
        query.pop("segment", None)
        query.pop("fold", None)
    if case.operation.path.endswith("/clean/rules") and case.method == "PUT":
        # A schema of rules would say them twice; `tests/tests/e2e/cleaning.rs` sends what is refused.
        case.body = []
    if case.operation.path.endswith("/delete") and isinstance(case.body, dict):
        # The other operations need the traces.
        case.body["q"] = '{ span.nobody = "has this" }'
        in_order(case.body)
