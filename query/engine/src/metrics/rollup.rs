//! Series from the sums by minute that the store keeps, where they answer a query exactly: counts, latencies and
//! maxima of durations, by service, name and kind, in steps of whole minutes.

use spandrel_storage::LatencySketch;
use spandrel_storage::plan::{AggregatePlan, GroupBy, KindFilter};
use spandrel_traceql::ast::{
    BinaryOp, Field, FieldExpr, FieldName, Intrinsic, Literal, MetricsFunction, Pipeline, Scope, SpanSetExpr,
    Stage,
};

use super::fold::{fill_counts, sort};
use super::{Context, MetricsAnswer, Series};
use crate::bind::constant;
use crate::error::QueryError;
use crate::limits::Partial;
use crate::rows::kind;
use crate::scalar::Scalar;

/// A fold that the store's sums answer.
pub(super) struct Rollup<'q> {
    plan: AggregatePlan,
    function: &'q MetricsFunction,
    by: &'q [Field],
    /// Only failed spans count.
    failed: bool,
}

/// A label that the store's sums have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Label {
    Service,
    Name,
    Kind,
}

const MINUTE: u64 = 60_000_000_000;

/// The rollup of a fold; `None` if spans have to be looked at.
pub(super) fn plan<'q>(
    spans: &Pipeline,
    function: &'q MetricsFunction,
    by: &'q [Field],
    context: Context<'_>,
) -> Option<Rollup<'q>> {
    let [Stage::Spans(SpanSetExpr::Filter(condition))] = &spans.stages[..] else { return None };
    if !context.steps.step.is_multiple_of(MINUTE) || !of_durations(function) {
        return None;
    }
    let labels: Vec<Label> = by.iter().map(label).collect::<Option<_>>()?;
    let plan = AggregatePlan {
        service: None,
        operation: None,
        kind: KindFilter::Any,
        group_by: GroupBy {
            service: labels.contains(&Label::Service),
            operation: labels.contains(&Label::Name),
            kind: labels.contains(&Label::Kind),
        },
        range: context.range,
        step: context.steps.step,
        max_points: context.steps.count,
        stop: context.budget.stop_signal(),
    };
    let mut rollup = Rollup { plan, function, by, failed: false };
    rollup.narrow(condition)?;
    let counts = matches!(function, MetricsFunction::Rate | MetricsFunction::CountOverTime);
    (!rollup.failed || counts).then_some(rollup)
}

fn of_durations(function: &MetricsFunction) -> bool {
    use MetricsFunction::*;
    match function {
        Rate | CountOverTime => true,
        MaxOverTime(expr) | QuantileOverTime(expr, _) => match expr {
            FieldExpr::Field(field) => {
                !field.of_parent && field.name == FieldName::Intrinsic(Intrinsic::Duration)
            }
            _ => false,
        },
        _ => false,
    }
}

fn label(field: &Field) -> Option<Label> {
    match &field.name {
        _ if field.of_parent => None,
        FieldName::Intrinsic(Intrinsic::Name) => Some(Label::Name),
        FieldName::Intrinsic(Intrinsic::Kind) => Some(Label::Kind),
        FieldName::Attribute(name) if name.scope == Scope::Resource && name.key == "service.name" => {
            Some(Label::Service)
        }
        _ => None,
    }
}

// === impl Rollup ===

impl Rollup<'_> {
    /// Takes a condition into the plan; `None` if it is about more than sums know.
    fn narrow(&mut self, condition: &FieldExpr) -> Option<()> {
        match condition {
            FieldExpr::Literal(Literal::Bool(true)) => Some(()),
            FieldExpr::Field(field) if is_failed(field) => {
                self.failed = true;
                Some(())
            }
            FieldExpr::Binary(BinaryOp::And, left, right) => {
                self.narrow(left)?;
                self.narrow(right)
            }
            FieldExpr::Binary(BinaryOp::Eq, left, right) => match (&**left, constant(right)?) {
                (FieldExpr::Field(field), Literal::Bool(true)) if is_failed(field) => {
                    self.failed = true;
                    Some(())
                }
                (FieldExpr::Field(field), literal) => self.narrow_to(label(field)?, literal),
                _ => None,
            },
            _ => None,
        }
    }

    fn narrow_to(&mut self, label: Label, literal: Literal) -> Option<()> {
        let plan = &mut self.plan;
        match (label, literal) {
            (Label::Service, Literal::String(name)) if plan.service.is_none() => plan.service = Some(name),
            (Label::Name, Literal::String(name)) if plan.operation.is_none() => plan.operation = Some(name),
            (Label::Kind, Literal::Kind(wanted)) if plan.kind == KindFilter::Any => {
                use spandrel_proto::otlp::SpanKind::*;
                let known = [Unspecified, Internal, Server, Client, Producer, Consumer];
                plan.kind = KindFilter::Only(known.into_iter().find(|known| kind(*known) == wanted)?);
            }
            _ => return None,
        }
        Some(())
    }

    pub(super) fn run(self, context: Context<'_>) -> Result<MetricsAnswer, QueryError> {
        let found = context.store.aggregate(context.tenant, &self.plan)?;
        let mut series = Vec::new();
        let counts = |group: &&spandrel_storage::Series| group.points.iter().any(|p| self.count(p) > 0);
        for group in found.series.iter().filter(counts) {
            if series.len() >= context.budget.limits().series {
                context.budget.stop(Partial::Series);
                break;
            }
            if !context.budget.take(context.steps.count * 8) {
                break;
            }
            series.extend(self.series(group, context));
        }
        fill_counts(&mut series, self.function, self.by, context.steps.count);
        sort(&mut series);
        let partial = found.partial.then_some(Partial::Store);
        Ok(MetricsAnswer { series, partial, estimated: found.estimated, ..MetricsAnswer::default() })
    }

    /// The spans that count of a point.
    fn count(&self, point: &spandrel_storage::Point) -> u64 {
        if self.failed { point.error_count } else { point.request_count }
    }

    /// The series of a group: one, or one for each quantile.
    fn series(&self, group: &spandrel_storage::Series, context: Context<'_>) -> Vec<Series> {
        let steps = context.steps;
        let fill = |empty: f64, value: &dyn Fn(&spandrel_storage::Point) -> f64| {
            let mut values = vec![empty; steps.count];
            for point in &group.points {
                if let Some(slot) = values.get_mut(steps.at(point.time.0)) {
                    *slot = value(point);
                }
            }
            values
        };
        let quantile = |latency: &LatencySketch, q: f64| match latency.count() {
            0 => f64::NAN,
            _ => latency.quantile(q) as f64,
        };
        let count = |point: &spandrel_storage::Point| self.count(point) as f64;
        let seconds = steps.step as f64 / 1e9;
        let one = |values: Vec<f64>| Series { labels: self.labels(group), values, exemplars: Vec::new() };
        match self.function {
            MetricsFunction::Rate => vec![one(fill(0.0, &|point| count(point) / seconds))],
            MetricsFunction::QuantileOverTime(_, quantiles) => {
                let of = |q: &f64| {
                    let mut series = one(fill(f64::NAN, &|point| quantile(&point.latency, *q)));
                    series.labels.push(("p".to_owned(), Scalar::Float(*q)));
                    series
                };
                quantiles.iter().map(of).collect()
            }
            MetricsFunction::MaxOverTime(_) => {
                vec![one(fill(f64::NAN, &|point| point.latency.max() as f64))]
            }
            _ => vec![one(fill(0.0, &count))],
        }
    }

    fn labels(&self, group: &spandrel_storage::Series) -> Vec<(String, Scalar<'static>)> {
        let text = |name: &Option<String>| Scalar::Text(name.clone().unwrap_or_default().into());
        let value = |field: &Field| match label(field) {
            Some(Label::Service) => text(&group.service),
            Some(Label::Name) => text(&group.operation),
            _ => group.kind.map_or(Scalar::Nil, |known| Scalar::Kind(kind(known))),
        };
        self.by.iter().map(|field| (field.to_string(), value(field))).collect()
    }
}

fn is_failed(field: &Field) -> bool {
    !field.of_parent && field.name == FieldName::Intrinsic(Intrinsic::Failed)
}
