//! Counts and latencies over time: from rollups for whole minutes, else from columns.

use std::collections::BTreeMap;
use std::sync::Arc;

use spandrel_block::Exemplar;
use spandrel_block::{Dictionary, FormatError, MINUTE, RowFlags, shown_duration};
use spandrel_proto::otlp::SpanKind;
use spandrel_proto::{TenantId, TimeRange, UnixNanos};

use crate::api::{AggregateAnswer, Damage, Point, Series};
use crate::error::ReadError;
use crate::plan::{AggregatePlan, KindFilter};
use crate::records::expired_rollups::ExpiredRollupRow;
use crate::store::core::Core;
use crate::store::core::block_reader::{BlockEntry, BlockError};

/// The labels of a series; `None` for those that the plan does not group by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    service: Option<String>,
    operation: Option<String>,
    kind: Option<SpanKind>,
}

type Points = BTreeMap<u64, Point>;

struct Aggregation<'p> {
    plan: &'p AggregatePlan,
    series: BTreeMap<Labels, Points>,
    /// The plan has ended the aggregate.
    stopped: bool,
}

/// The point for a time. At most `max_points` points are kept, those of the earliest times; the last of them also
/// counts everything after it, in whatever order spans are added.
fn point_at(points: &mut Points, time: u64, max_points: usize) -> &mut Point {
    let last = |points: &Points| points.last_key_value().map(|(last, _)| *last);
    let is_full = points.len() >= max_points;
    let time = last(points).filter(|last| is_full && time > *last).unwrap_or(time);
    if is_full
        && !points.contains_key(&time)
        && let Some((_, later)) = points.pop_last()
    {
        let new_last = last(points).filter(|last| *last > time).unwrap_or(time);
        points.entry(new_last).or_insert_with(|| Point::empty(UnixNanos(new_last))).add(&later);
    }
    points.entry(time).or_insert_with(|| Point::empty(UnixNanos(time)))
}

/// Computes the answer of an aggregate.
pub(crate) fn aggregate(
    core: &Core,
    tenant: &TenantId,
    plan: &AggregatePlan,
) -> Result<AggregateAnswer, ReadError> {
    let Some(state) = core.tenants.get(tenant) else { return Ok(AggregateAnswer::default()) };
    let mut aggregation = Aggregation { plan, series: BTreeMap::new(), stopped: false };
    let damage = Damage::default();
    let view = state.view();
    for entry in view.spans().filter(|entry| entry.row.meta.touches(&plan.range)) {
        if aggregation.is_stopped() {
            break;
        }
        if let Err(error) = aggregation.add_block(core, entry) {
            core.report_damage(entry, &error, &damage);
        }
    }
    let expired = core.expired_rollup_rows(&state, &view, &plan.range, &damage)?;
    let mut estimated = false;
    for row in &expired {
        estimated |= aggregation.add_expired(row);
    }
    let partial = aggregation.stopped || damage.blocks() > 0;
    Ok(AggregateAnswer { series: aggregation.finish(), partial, estimated })
}

// === impl Aggregation ===

impl Aggregation<'_> {
    fn add_block(&mut self, core: &Core, entry: &Arc<BlockEntry>) -> Result<(), BlockError> {
        let dictionary = core.reader.dictionary(entry)?;
        let labels: Vec<Option<Labels>> =
            (0..dictionary.operations.len()).map(|index| self.labels(&dictionary, index)).collect();
        if labels.iter().all(Option::is_none) {
            return Ok(());
        }
        let Some(whole) = self.whole_minutes() else { return self.add_rows(core, entry, &labels, None) };
        let rollups = match core.reader.rollups(entry) {
            Ok(rollups) => rollups,
            Err(error) => {
                // The columns have the same content, but take longer to read.
                core.report_damage(entry, &error, &Damage::default());
                return self.add_rows(core, entry, &labels, None);
            }
        };
        for row in rollups.iter().filter(|row| whole.contains(UnixNanos(row.start()))) {
            if let Some(point) = self.point(&labels[row.operation as usize], row.flags(), row.start()) {
                point.request_count += row.count;
                point.error_count += row.errors;
                point.latency.merge(&row.latency);
                point.worst = point.worst.max(row.worst);
            }
        }
        let meta = &entry.row.meta;
        let covers_all = whole.contains(meta.min_start) && whole.contains(meta.max_start);
        if covers_all { Ok(()) } else { self.add_rows(core, entry, &labels, Some(whole)) }
    }

    /// Adds a rollup of expired spans. Returns whether the result is an estimate: of their starts only the minute is
    /// known, so outside of whole minutes all spans count as starting with it.
    fn add_expired(&mut self, row: &ExpiredRollupRow) -> bool {
        let labels = self.labels_of(&row.service, &row.operation);
        let start = UnixNanos(row.start());
        let exact = self.whole_minutes().is_some_and(|whole| whole.contains(start));
        if self.plan.range.contains(start)
            && let Some(point) = self.point(&labels, row.flags(), start.0)
        {
            point.request_count += row.count;
            point.error_count += row.errors;
            point.latency.merge(&row.latency);
        }
        labels.is_some() && !exact
    }

    /// Adds the rows that rollups did not count: those outside `whole`.
    fn add_rows(
        &mut self,
        core: &Core,
        entry: &Arc<BlockEntry>,
        labels: &[Option<Labels>],
        whole: Option<TimeRange>,
    ) -> Result<(), BlockError> {
        let dictionary = core.reader.dictionary(entry)?;
        let traces = core.reader.traces(entry)?;
        let mut traces = traces.of_rows();
        for page in 0..core.reader.pages(entry)? {
            if self.is_stopped() {
                break;
            }
            let columns = core.reader.core(entry, page as u32)?;
            for row in 0..columns.rows() {
                let start = UnixNanos(columns.start[row]);
                let trace = traces.next().ok_or(FormatError::Damaged("trace table"))?;
                if !self.plan.range.contains(start) || whole.is_some_and(|whole| whole.contains(start)) {
                    continue;
                }
                let flags = dictionary.flags(columns.class[row]);
                let operation = dictionary.operation(columns.class[row]);
                if let Some(point) = self.point(&labels[operation as usize], flags, start.0) {
                    let (failed, duration) = (flags.failed(), shown_duration(start.0, columns.duration[row]));
                    point.request_count += 1;
                    point.error_count += u64::from(failed);
                    point.latency.add(duration);
                    point.worst = point.worst.max(Some(Exemplar { failed, duration, trace }));
                }
            }
        }
        Ok(())
    }

    fn is_stopped(&mut self) -> bool {
        self.stopped |= self.plan.stop.is_set();
        self.stopped
    }

    /// The whole minutes of the range, if points are made of whole minutes.
    fn whole_minutes(&self) -> Option<TimeRange> {
        let range = self.plan.range;
        let start = range.start.0.div_ceil(MINUTE).checked_mul(MINUTE)?;
        let end = range.end.map(|end| UnixNanos(end.0 / MINUTE * MINUTE));
        let in_order = end.is_none_or(|end| start < end.0);
        (self.plan.step.is_multiple_of(MINUTE) && in_order)
            .then_some(TimeRange { start: UnixNanos(start), end })
    }

    /// The labels of an operation's spans without their kind; `None` if the plan does not count them.
    fn labels(&self, dictionary: &Dictionary, operation: usize) -> Option<Labels> {
        let (service, name) = &dictionary.operations[operation];
        self.labels_of(&dictionary.services[*service as usize], name)
    }

    fn labels_of(&self, service: &str, name: &str) -> Option<Labels> {
        let wanted =
            |wanted: &Option<String>, name: &str| wanted.as_deref().is_none_or(|wanted| wanted == name);
        let group = self.plan.group_by;
        (wanted(&self.plan.service, service) && wanted(&self.plan.operation, name)).then(|| Labels {
            service: group.service.then(|| service.to_owned()),
            operation: group.operation.then(|| name.to_owned()),
            kind: None,
        })
    }

    fn point(&mut self, labels: &Option<Labels>, flags: RowFlags, start: u64) -> Option<&mut Point> {
        let counts = match self.plan.kind {
            KindFilter::Requests => flags.is_request(),
            KindFilter::Any => true,
            KindFilter::Only(kind) => flags.kind() == kind,
        };
        let labels = labels.as_ref().filter(|_| counts)?;
        let kind = self.plan.group_by.kind.then(|| flags.kind());
        let points = match self.series.contains_key(labels) && kind.is_none() {
            true => self.series.get_mut(labels)?,
            false => self.series.entry(Labels { kind, ..labels.clone() }).or_default(),
        };
        let time = start / self.plan.step * self.plan.step;
        Some(point_at(points, time, self.plan.max_points))
    }

    fn finish(self) -> Vec<Series> {
        let series = |(labels, points): (Labels, Points)| Series {
            service: labels.service,
            operation: labels.operation,
            kind: labels.kind,
            points: points.into_values().collect(),
        };
        self.series.into_iter().map(series).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_last_point_counts_what_comes_after_it(
            times in proptest::collection::vec(0u64..40, 0..60),
            max_points in 1usize..8,
        ) {
            let mut points = Points::new();
            for time in &times {
                point_at(&mut points, *time, max_points).request_count += 1;
            }
            let mut expected: BTreeMap<u64, u64> = BTreeMap::new();
            times.iter().for_each(|time| *expected.entry(*time).or_default() += 1);
            let kept: Vec<u64> = expected.keys().take(max_points).copied().collect();
            for (time, count) in std::mem::take(&mut expected) {
                let at = kept.iter().rfind(|kept| **kept <= time).copied().unwrap_or(time);
                *expected.entry(at).or_default() += count;
            }
            let counted: BTreeMap<u64, u64> =
                points.iter().map(|(time, point)| (*time, point.request_count)).collect();
            prop_assert_eq!(counted, expected);
            prop_assert!(points.iter().all(|(time, point)| point.time.0 == *time));
        }
    }
}
