//! Compares the answers to questions for how often values occur.

use spandrel_engine::metrics::{Comparison, comparisons};
use spandrel_engine::values;
use spandrel_proto::{TenantId, TimeRange};
use spandrel_traceql::ast::{Field, FieldExpr, Pipeline};

use crate::plain::counts::{Counts, compared, counts_of};
use crate::plain::metrics::Points;
use crate::search::plain;
use crate::series::range_of;
use crate::world::{World, budget};

/// How comparisons of a selection with other spans differ from what they should be, if they do.
pub fn difference_of_comparison(
    world: &World,
    spans: &Pipeline,
    selection: &FieldExpr,
    points: Points,
) -> Option<String> {
    let points = Points { step: u64::MAX, ..points };
    let compared = compared(&world.traces, spans, selection, None, points);
    // Every span has a name, which is the first field.
    let spans_of_sides = compared.first().map_or([0; 2], |(_, counts)| totals(counts));
    let text = |(field, counts): &(Field, Vec<Counts>)| text_of_counts(field, counts, spans_of_sides);
    let expected = sorted(compared.iter().map(text));
    let tenant = TenantId::default();
    world.stores.iter().find_map(|(state, store)| {
        let range = range_of(points);
        let (got, partial) = comparisons(store, &tenant, spans, selection, range, &budget()).unwrap();
        assert_eq!(partial, None);
        assert!(got.is_sorted_by(|a, b| a.difference >= b.difference), "the largest differences come first");
        let got = sorted(got.iter().map(text_of_comparison));
        (got != expected).then(|| format!("comparisons, {state:?}\nexpected\n{expected}\ngot\n{got}"))
    })
}

/// The spans of both sides that have a value.
fn totals(counts: &[Counts]) -> [u64; 2] {
    [0, 1].map(|side| counts.iter().map(|counts| counts.total()[side]).sum())
}

/// Shares are those of all spans of a side, with the field or without.
fn text_of_counts(field: &Field, counts: &[Counts], spans: [u64; 2]) -> String {
    let totals = totals(counts);
    let share = |count: u64, total: u64| if total == 0 { 0.0 } else { count as f64 / total as f64 };
    let difference = |counts: &Counts| {
        let [selected, others] = counts.total();
        (share(selected, spans[0]) - share(others, spans[1])).abs()
    };
    let largest = counts.iter().map(difference).fold(0.0, f64::max);
    let values = counts.iter().map(|counts| format!("{:?} {:?}", counts.value, counts.total()));
    format!("  {field} of {totals:?} differs by {largest:.6}: {}", sorted(values))
}

fn text_of_comparison(comparison: &Comparison) -> String {
    let Comparison { field, values, totals, difference, too_many_values, .. } = comparison;
    assert!(!too_many_values);
    let values = values.iter().map(|value| format!("{:?} {:?}", plain(&value.value), value.counts));
    format!("  {field} of {totals:?} differs by {difference:.6}: {}", sorted(values))
}

/// How the values of a field differ from what they should be, if they do.
pub fn difference_of_values(
    world: &World,
    spans: &Pipeline,
    field: &Field,
    points: Points,
) -> Option<String> {
    let points = Points { step: u64::MAX, ..points };
    let counts = counts_of(&world.traces, spans, field, points, |_, _| true);
    let expected = sorted(counts.iter().map(|counts| format!("{:?} {}", counts.value, counts.total()[0])));
    let tenant = TenantId::default();
    world.stores.iter().find_map(|(state, store)| {
        let range: TimeRange = range_of(points);
        let (got, partial) = values::values(store, &tenant, field, spans, range, &budget()).unwrap();
        assert_eq!(partial, None);
        assert!(got.is_sorted_by(|a, b| a.spans >= b.spans), "values of most spans come first");
        let got = sorted(got.iter().map(|value| format!("{:?} {}", plain(&value.value), value.spans)));
        (got != expected).then(|| format!("values, {state:?}\nexpected\n{expected}\ngot\n{got}"))
    })
}

fn sorted(texts: impl Iterator<Item = String>) -> String {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts.join("\n")
}
