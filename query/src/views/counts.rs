//! Counts visible spans and their latencies over time, as the store does for all: for roles for which its rollups know
//! too much.

use std::collections::BTreeMap;

use spandrel_proto::UnixNanos;
use spandrel_proto::otlp::SpanKind;
use spandrel_storage::plan::{AggregatePlan, KindFilter};
use spandrel_storage::table::{SpanTable, TableFold};
use spandrel_storage::{AggregateAnswer, Exemplar, LatencySketch, Point, RowFlags, Series};

/// The points of an aggregate, as far as they are counted.
pub(super) struct Counts<'p> {
    plan: &'p AggregatePlan,
    series: BTreeMap<Labels, BTreeMap<u64, Point>>,
}

type Labels = (Option<String>, Option<String>, Option<SpanKind>);

// === impl Counts ===

impl<'p> Counts<'p> {
    pub(super) fn new(plan: &'p AggregatePlan) -> Self {
        Self { plan, series: BTreeMap::new() }
    }

    pub(super) fn finish(self) -> AggregateAnswer {
        let series = self.series.into_iter().map(|((service, operation, kind), points)| Series {
            service,
            operation,
            kind,
            points: points.into_values().collect(),
        });
        AggregateAnswer { series: series.collect(), ..AggregateAnswer::default() }
    }

    fn counts(&self, flags: RowFlags, service: &str, operation: &str) -> bool {
        let AggregatePlan { service: of, operation: named, kind, .. } = self.plan;
        let is_kind = match kind {
            KindFilter::Any => true,
            KindFilter::Requests => flags.is_request(),
            KindFilter::Only(kind) => flags.kind() == *kind,
        };
        is_kind
            && of.as_ref().is_none_or(|of| of == service)
            && named.as_ref().is_none_or(|named| named == operation)
    }
}

impl TableFold for Counts<'_> {
    fn add(&mut self, table: &SpanTable) -> bool {
        let group = self.plan.group_by;
        let mut begin = 0;
        for (trace, end) in &table.traces {
            let rows = begin..*end as usize;
            begin = *end as usize;
            for row in rows {
                let (flags, service, operation) = (table.flags(row), table.service(row), table.name(row));
                if !self.counts(flags, service, operation) {
                    continue;
                }
                let labels = (
                    group.service.then(|| service.to_owned()),
                    group.operation.then(|| operation.to_owned()),
                    group.kind.then(|| flags.kind()),
                );
                let time = table.start[row] / self.plan.step * self.plan.step;
                let points = self.series.entry(labels).or_default();
                let point = points.entry(time).or_insert_with(|| Point {
                    time: UnixNanos(time),
                    request_count: 0,
                    error_count: 0,
                    latency: LatencySketch::default(),
                    worst: None,
                });
                let (duration, failed) = (table.duration[row], flags.failed());
                point.request_count += 1;
                point.error_count += u64::from(failed);
                point.latency.add(duration);
                point.worst = point.worst.max(Some(Exemplar { failed, duration, trace: *trace }));
                // The last point has all that start after it.
                if points.len() > self.plan.max_points.max(1)
                    && let (Some((_, beyond)), Some(mut last)) = (points.pop_last(), points.last_entry())
                {
                    last.get_mut().add(&beyond);
                }
            }
        }
        true
    }
}
