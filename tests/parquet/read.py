"""Reads an exported table with DuckDB and with pandas and prints, as JSON, what each of them sees."""

import json
import sys

import duckdb
import pandas


def with_duckdb(path):
    columns = """trace_id, span_id, parent_span_id, service, name, kind, epoch_ns(start), duration_nano,
        failed, error_code, http_response_status_code, http_route, attributes, resource_attributes,
        list_transform(events, lambda one: one.name), list_transform(links, lambda one: one.trace_id)"""
    rows = duckdb.execute(f"select {columns} from read_parquet(?)", [path]).fetchall()
    by_service = duckdb.execute(
        "select service, count(*), count(*) filter (failed), max(duration_nano), "
        "count(*) filter (attributes['tier'] = 'gold') from read_parquet(?) group by service",
        [path],
    ).fetchall()
    # Every column in every row can be fetched as it is.
    whole = duckdb.execute("select * from read_parquet(?)", [path]).fetchall()
    assert len(whole) == len(rows)
    return rows, by_service


def with_pandas(path):
    table = pandas.read_parquet(path)
    code = [None if pandas.isna(one) else int(one) for one in table.http_response_status_code]
    text = {name: [None if pandas.isna(one) else one for one in table[name]]
            for name in ("parent_span_id", "error_code", "http_route")}
    rows = list(zip(
        table.trace_id, table.span_id, text["parent_span_id"], table.service, table["name"], table.kind,
        table.start.astype("int64").tolist(),
        table.duration_nano.tolist(), table.failed.tolist(), text["error_code"], code, text["http_route"],
        map(dict, table.attributes), map(dict, table.resource_attributes),
        ([one["name"] for one in events] for events in table.events),
        ([one["trace_id"] for one in links] for links in table.links),
    ))
    gold = table.attributes.map(lambda one: dict(one).get("tier") == "gold")
    groups = table.assign(gold=gold).groupby("service")
    by_service = [
        [service, len(group), int(group.failed.sum()), int(group.duration_nano.max()), int(group.gold.sum())]
        for service, group in groups
    ]
    return rows, by_service


def seen(rows, by_service):
    return {"spans": sorted(map(list, rows)), "byService": sorted(map(list, by_service))}


path = sys.argv[1]
print(json.dumps({"duckdb": seen(*with_duckdb(path)), "pandas": seen(*with_pandas(path))}))
