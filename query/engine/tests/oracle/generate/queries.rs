//! Random queries that make sense: every one parses when it is printed.

use spandrel_traceql::ast::BinaryOp::{
    Add, And, Contains, Div, EndsWith, Eq, Ge, Gt, Le, Lt, Matches, MatchesNot, Mod, Mul, Ne, Or, Pow,
    StartsWith, Sub,
};
use spandrel_traceql::ast::{
    Aggregate, AttributeName, BinaryOp, Field, FieldExpr, FieldName, Intrinsic, Kind, Literal, MeshField,
    Metrics, MetricsFunction, Pipeline, Relation, ScalarExpr, ScalarFilter, Scope, SecondStage, SpanSetExpr,
    SpanSetOp, Stage, Status, StructuralResult,
};

use super::dice::Dice;
use super::pools::{
    BIG_FLOATS, BIG_INTS, DURATIONS, EVENTS, FLOATS, INTS, KEYS, MESH_TEXTS, MESSAGES, NAMES, NUMERIC_TEXTS,
    SCOPES, SERVICES, Sort, TEXTS,
};

const EQUALITIES: [BinaryOp; 2] = [Eq, Ne];
const COMPARISONS: [BinaryOp; 6] = [Eq, Ne, Lt, Le, Gt, Ge];
const TEXT_OPERATORS: [BinaryOp; 5] = [Matches, MatchesNot, Contains, StartsWith, EndsWith];
const ARITHMETIC: [BinaryOp; 5] = [Add, Sub, Mul, Div, Mod];
const SUMS_AND_PRODUCTS: [BinaryOp; 4] = [Add, Sub, Mul, Div];
const PATTERNS: [&str; 5] = ["GET.*", "P?OST|2", ".*", "shop|cart", "[0-9]+"];
const PARTS: [&str; 4] = ["G", "T", "0", "query"];
const QUANTILES: [f64; 4] = [0.0, 0.5, 0.9, 1.0];

const NUMBERS: [Intrinsic; 9] = [
    Intrinsic::Duration,
    Intrinsic::Duration,
    Intrinsic::Duration,
    Intrinsic::Duration,
    Intrinsic::ChildCount,
    Intrinsic::TraceDuration,
    Intrinsic::EventTimeSinceStart,
    Intrinsic::NestedSetLeft,
    Intrinsic::NestedSetParent,
];
const STRINGS: [Intrinsic; 13] = [
    Intrinsic::Name,
    Intrinsic::Name,
    Intrinsic::StatusMessage,
    Intrinsic::SpanId,
    Intrinsic::ParentId,
    Intrinsic::RootName,
    Intrinsic::RootService,
    Intrinsic::TraceId,
    Intrinsic::EventName,
    Intrinsic::LinkTraceId,
    Intrinsic::LinkSpanId,
    Intrinsic::InstrumentationName,
    Intrinsic::InstrumentationVersion,
];
/// All but the outcome, which follows from attributes that spans may have twice.
const MESH_FIELDS: [Intrinsic; 11] = [
    Intrinsic::Mesh(MeshField::Role),
    Intrinsic::Mesh(MeshField::Proxy),
    Intrinsic::Mesh(MeshField::Direction),
    Intrinsic::Mesh(MeshField::Workload),
    Intrinsic::Mesh(MeshField::Namespace),
    Intrinsic::Mesh(MeshField::Instance),
    Intrinsic::Mesh(MeshField::Zone),
    Intrinsic::Mesh(MeshField::Callee),
    Intrinsic::Mesh(MeshField::Subset),
    Intrinsic::Mesh(MeshField::Upstream),
    Intrinsic::Mesh(MeshField::Flags),
];
const FLAGS: [Intrinsic; 4] = [Intrinsic::Failed, Intrinsic::Root, Intrinsic::Entry, Intrinsic::MeshRequest];
/// Those that a span may lack.
const OPTIONAL: [Intrinsic; 7] = [
    Intrinsic::Mesh(MeshField::Flags),
    Intrinsic::Mesh(MeshField::Subset),
    Intrinsic::Parent,
    Intrinsic::EventName,
    Intrinsic::EventTimeSinceStart,
    Intrinsic::LinkTraceId,
    Intrinsic::LinkSpanId,
];

// === Conditions ===

/// A condition of at most some levels of `&&`, `||` and `!`.
pub fn condition(dice: &Dice, levels: u32) -> FieldExpr {
    if levels > 0 && dice.percent(45) {
        let inner = condition(dice, levels - 1);
        return match dice.below(5) {
            0 => FieldExpr::Not(Box::new(inner)),
            1 => binary(And, inner, condition(dice, levels - 1)),
            _ => binary(Or, inner, condition(dice, levels - 1)),
        };
    }
    match dice.below(14) {
        0 => FieldExpr::Literal(Literal::Bool(dice.percent(90))),
        1..5 => intrinsic_and_constant(dice),
        5..9 => attribute_and_constant(dice),
        9 => nil_test(dice),
        10 => text_test(dice),
        11 => flag(dice),
        12 => fields(dice),
        _ => numbers(dice),
    }
}

fn intrinsic_and_constant(dice: &Dice) -> FieldExpr {
    let (op, intrinsic, constant) = match dice.below(9) {
        0 => (dice.pick(&EQUALITIES), Intrinsic::Kind, Literal::Kind(kind(dice))),
        1 => (dice.pick(&EQUALITIES), Intrinsic::Status, Literal::Status(status(dice))),
        2 => (dice.pick(&EQUALITIES), dice.pick(&FLAGS), Literal::Bool(dice.percent(70))),
        3..6 => {
            let intrinsic = dice.pick(&NUMBERS);
            (dice.pick(&COMPARISONS), intrinsic, number_of(dice, intrinsic))
        }
        6 => {
            let intrinsic = dice.pick(&MESH_FIELDS);
            (dice.pick(&COMPARISONS), intrinsic, Literal::String(text_of(dice, intrinsic)))
        }
        _ => {
            let intrinsic = dice.pick(&STRINGS);
            (dice.pick(&COMPARISONS), intrinsic, Literal::String(text_of(dice, intrinsic)))
        }
    };
    either_way(dice, op, field(dice, FieldName::Intrinsic(intrinsic)), constant)
}

fn attribute_and_constant(dice: &Dice) -> FieldExpr {
    let (name, sort) = attribute(dice);
    let constant = constant(dice, sort);
    let op = match constant {
        Literal::Bool(_) => dice.pick(&EQUALITIES),
        _ => dice.pick(&COMPARISONS),
    };
    either_way(dice, op, field(dice, FieldName::Attribute(name)), constant)
}

/// The constant mostly stands on the right.
fn either_way(dice: &Dice, op: BinaryOp, field: Field, constant: Literal) -> FieldExpr {
    let (field, constant) = (FieldExpr::Field(field), FieldExpr::Literal(constant));
    if dice.percent(10) { binary(op, constant, field) } else { binary(op, field, constant) }
}

fn nil_test(dice: &Dice) -> FieldExpr {
    let op = dice.pick(&EQUALITIES);
    let tested = match dice.below(5) {
        0 => FieldExpr::Field(field(dice, FieldName::Intrinsic(dice.pick(&OPTIONAL)))),
        1 => FieldExpr::Negate(Box::new(number(dice, 1))),
        _ => FieldExpr::Field(field(dice, FieldName::Attribute(known_attribute(dice).0))),
    };
    binary(op, tested, FieldExpr::Literal(Literal::Nil))
}

fn text_test(dice: &Dice) -> FieldExpr {
    let op = dice.pick(&TEXT_OPERATORS);
    let name = if dice.percent(50) {
        FieldName::Intrinsic(dice.pick(&STRINGS))
    } else {
        FieldName::Attribute(attribute(dice).0)
    };
    let text = match op {
        Matches | MatchesNot => dice.pick(&PATTERNS),
        _ => dice.pick(&PARTS),
    };
    binary(op, FieldExpr::Field(field(dice, name)), FieldExpr::Literal(Literal::String(text.to_owned())))
}

fn flag(dice: &Dice) -> FieldExpr {
    let name = if dice.percent(60) {
        FieldName::Intrinsic(dice.pick(&FLAGS))
    } else {
        FieldName::Attribute(attribute(dice).0)
    };
    FieldExpr::Field(field(dice, name))
}

/// Two fields compared.
fn fields(dice: &Dice) -> FieldExpr {
    let left = FieldExpr::Field(field(dice, FieldName::Attribute(attribute(dice).0)));
    let (op, right) = match dice.below(5) {
        0 => (dice.pick(&EQUALITIES), flag(dice)),
        1 => (dice.pick(&COMPARISONS), intrinsic_field(dice, &STRINGS)),
        2 => (dice.pick(&[Contains, StartsWith, EndsWith]), intrinsic_field(dice, &STRINGS)),
        3 => (dice.pick(&EQUALITIES), numbers(dice)),
        _ => {
            let other = FieldExpr::Field(field(dice, FieldName::Attribute(attribute(dice).0)));
            (dice.pick(&COMPARISONS), other)
        }
    };
    if dice.percent(30) && !matches!(op, Contains | StartsWith | EndsWith) {
        return binary(op, right, left);
    }
    binary(op, left, right)
}

fn intrinsic_field(dice: &Dice, choices: &[Intrinsic]) -> FieldExpr {
    let intrinsic = dice.pick(choices);
    FieldExpr::Field(field(dice, FieldName::Intrinsic(intrinsic)))
}

/// Two computed numbers compared.
fn numbers(dice: &Dice) -> FieldExpr {
    let right =
        if dice.percent(50) { FieldExpr::Literal(constant(dice, Sort::Number)) } else { number(dice, 1) };
    binary(dice.pick(&COMPARISONS), number(dice, 2), right)
}

/// A number in which a field stands.
fn number(dice: &Dice, levels: u32) -> FieldExpr {
    if levels > 0 && dice.percent(60) {
        let inner = number(dice, levels - 1);
        return match dice.below(7) {
            0 => FieldExpr::Negate(Box::new(inner)),
            1 | 2 => binary(dice.pick(&ARITHMETIC), inner, number(dice, levels - 1)),
            3 => binary(dice.pick(&ARITHMETIC), FieldExpr::Literal(constant(dice, Sort::Number)), inner),
            // Small powers, so that sums of them stay exact.
            4 => binary(Pow, inner, FieldExpr::Literal(Literal::Int(dice.below(4) as i64 - 1))),
            _ => binary(dice.pick(&ARITHMETIC), inner, FieldExpr::Literal(constant(dice, Sort::Number))),
        };
    }
    if dice.percent(55) {
        return intrinsic_field(dice, &NUMBERS);
    }
    FieldExpr::Field(field(dice, FieldName::Attribute(exact_attribute(dice))))
}

// === Fields and constants ===

fn field(dice: &Dice, name: FieldName) -> Field {
    // What is the same for all spans of a trace, and the numbers of the tree, have no name behind `parent.`.
    let may_be_of_parent = match name {
        FieldName::Intrinsic(intrinsic) => !matches!(
            intrinsic,
            Intrinsic::Parent
                | Intrinsic::TraceId
                | Intrinsic::TraceDuration
                | Intrinsic::RootName
                | Intrinsic::RootService
                | Intrinsic::NestedSetLeft
                | Intrinsic::NestedSetRight
                | Intrinsic::NestedSetParent
        ),
        FieldName::Attribute(_) => true,
    };
    Field { of_parent: may_be_of_parent && dice.percent(12), name }
}

/// An attribute, now and then the service, which is never absent.
fn attribute(dice: &Dice) -> (AttributeName, Sort) {
    if dice.percent(10) {
        let scope = dice.pick(&[Scope::Resource, Scope::Resource, Scope::Any]);
        let name = AttributeName { scope, key: "service.name".to_owned(), is_literal: false };
        return (name, Sort::Text);
    }
    known_attribute(dice)
}

/// One of whose values sums are exact.
fn exact_attribute(dice: &Dice) -> AttributeName {
    match attribute(dice) {
        (_, Sort::Big) => exact_attribute(dice),
        (name, _) => name,
    }
}

fn known_attribute(dice: &Dice) -> (AttributeName, Sort) {
    use Scope::{Any, Event, Instrumentation, Link, Resource, Span};
    let common = dice.pick(&[Any, Any, Span, Resource]);
    let scope = if dice.percent(80) { common } else { dice.pick(&[Event, Link, Instrumentation]) };
    let (key, sort) = dice.pick(&KEYS);
    (AttributeName { scope, key: key.to_owned(), is_literal: dice.percent(10) }, sort)
}

fn constant(dice: &Dice, sort: Sort) -> Literal {
    match sort {
        Sort::Number if dice.percent(70) => Literal::Int(dice.pick(&INTS)),
        Sort::Number => Literal::Float(dice.pick(&FLOATS)),
        Sort::Big if dice.percent(50) => Literal::Int(dice.pick(&BIG_INTS)),
        Sort::Big => Literal::Float(dice.pick(&BIG_FLOATS)),
        Sort::Text if dice.percent(20) => Literal::String(dice.pick(&SERVICES).to_owned()),
        Sort::Text => Literal::String(dice.pick(&TEXTS).to_owned()),
        Sort::Flag => Literal::Bool(dice.percent(70)),
        Sort::List | Sort::Odd if dice.percent(20) => Literal::String(dice.pick(&NUMERIC_TEXTS).to_owned()),
        Sort::List | Sort::Odd => {
            let sort = dice.pick(&[Sort::Number, Sort::Text, Sort::Flag]);
            constant(dice, sort)
        }
    }
}

fn number_of(dice: &Dice, intrinsic: Intrinsic) -> Literal {
    match intrinsic {
        Intrinsic::Duration | Intrinsic::TraceDuration | Intrinsic::EventTimeSinceStart => {
            Literal::Duration(dice.pick(&DURATIONS) as i64)
        }
        _ => Literal::Int(dice.below(8) as i64 - 1),
    }
}

fn text_of(dice: &Dice, intrinsic: Intrinsic) -> String {
    match intrinsic {
        Intrinsic::Name | Intrinsic::RootName => dice.pick(&NAMES).to_owned(),
        Intrinsic::StatusMessage => dice.pick(&MESSAGES).to_owned(),
        Intrinsic::SpanId | Intrinsic::ParentId | Intrinsic::LinkSpanId => {
            format!("{:016x}", 1 + dice.below(4))
        }
        Intrinsic::TraceId | Intrinsic::LinkTraceId => format!("{:032x}", 1 + dice.below(3)),
        Intrinsic::RootService => dice.pick(&SERVICES).to_owned(),
        Intrinsic::EventName => dice.pick(&EVENTS).to_owned(),
        Intrinsic::Mesh(_) => dice.pick(&MESH_TEXTS).to_owned(),
        _ => dice.pick(&SCOPES).to_owned(),
    }
}

fn kind(dice: &Dice) -> Kind {
    use Kind::{Client, Consumer, Internal, Producer, Server, Unspecified};
    dice.pick(&[Unspecified, Internal, Server, Client, Producer, Consumer])
}

fn status(dice: &Dice) -> Status {
    dice.pick(&[Status::Unset, Status::Ok, Status::Error])
}

fn binary(op: BinaryOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    FieldExpr::Binary(op, Box::new(left), Box::new(right))
}

// === Pipelines ===

/// A pipeline; `quantifiers` allows `none` and `all`, which have no place in a tree.
pub fn pipeline(dice: &Dice, levels: u32, quantifiers: bool) -> Pipeline {
    let first = match dice.below(12) {
        0 => Stage::By(keys(dice)),
        1 => Stage::Filter(filter(dice, levels, quantifiers)),
        _ => Stage::Spans(spans(dice, levels, quantifiers)),
    };
    let mut stages = vec![first];
    while dice.percent(40) && stages.len() < 4 {
        stages.push(match dice.below(8) {
            0 | 1 => Stage::By(keys(dice)),
            2 => Stage::Coalesce,
            3 => Stage::Select(vec![field_of_any_kind(dice), field_of_any_kind(dice)]),
            4 => Stage::Spans(spans(dice, levels, quantifiers)),
            _ => Stage::Filter(filter(dice, levels, quantifiers)),
        });
    }
    Pipeline { stages }
}

/// A pipeline of one filter, which a store may answer alone.
pub fn plain_filter(dice: &Dice) -> Pipeline {
    Pipeline { stages: vec![Stage::Spans(SpanSetExpr::Filter(condition(dice, 2)))] }
}

fn spans(dice: &Dice, levels: u32, quantifiers: bool) -> SpanSetExpr {
    if levels == 0 && dice.percent(40) {
        return SpanSetExpr::Filter(FieldExpr::Literal(Literal::Bool(true)));
    }
    if levels == 0 || dice.percent(35) {
        return SpanSetExpr::Filter(condition(dice, 1));
    }
    let inner = |dice: &Dice, quantifiers| Box::new(spans(dice, levels - 1, quantifiers));
    match dice.below(10) {
        0 if quantifiers => SpanSetExpr::None(inner(dice, true)),
        1 if quantifiers => SpanSetExpr::All(inner(dice, true)),
        0 | 1 => SpanSetExpr::Wrapped(Box::new(pipeline(dice, levels - 1, quantifiers))),
        2 => SpanSetExpr::Binary(SpanSetOp::And, inner(dice, quantifiers), inner(dice, quantifiers)),
        3 => SpanSetExpr::Binary(SpanSetOp::Or, inner(dice, quantifiers), inner(dice, quantifiers)),
        _ => SpanSetExpr::Binary(structural(dice), inner(dice, false), inner(dice, false)),
    }
}

fn structural(dice: &Dice) -> SpanSetOp {
    use Relation::{Ancestor, Child, Descendant, Parent, Sibling};
    use StructuralResult::{Both, Right, RightWithout};
    let relation = dice.pick(&[Child, Parent, Descendant, Ancestor, Sibling]);
    SpanSetOp::Structural { relation, result: dice.pick(&[Right, RightWithout, Both]) }
}

fn keys(dice: &Dice) -> Vec<FieldExpr> {
    let key = || match dice.below(8) {
        0 => number(dice, 1),
        1 => FieldExpr::Not(Box::new(flag(dice))),
        _ => FieldExpr::Field(field_of_any_kind(dice)),
    };
    let keys = [key(), key()];
    let count = 1 + dice.below(2) as usize;
    keys.into_iter().take(count).collect()
}

fn field_of_any_kind(dice: &Dice) -> Field {
    let name = match dice.below(8) {
        0 => FieldName::Intrinsic(dice.pick(&NUMBERS)),
        1 => FieldName::Intrinsic(dice.pick(&STRINGS)),
        2 => FieldName::Intrinsic(dice.pick(&FLAGS)),
        3 => FieldName::Intrinsic(dice.pick(&[Intrinsic::Kind, Intrinsic::Status, Intrinsic::Name])),
        _ => FieldName::Attribute(attribute(dice).0),
    };
    field(dice, name)
}

fn filter(dice: &Dice, levels: u32, quantifiers: bool) -> ScalarFilter {
    let left = scalar(dice, levels, quantifiers);
    let right = match dice.below(4) {
        0 => scalar(dice, levels, quantifiers),
        1 => ScalarExpr::Field(number_field(dice)),
        _ => ScalarExpr::Literal(scalar_constant(dice)),
    };
    let (left, right) = if dice.percent(30) { (right, left) } else { (left, right) };
    ScalarFilter { op: dice.pick(&COMPARISONS), left, right }
}

/// A scalar in which an aggregate stands.
fn scalar(dice: &Dice, levels: u32, quantifiers: bool) -> ScalarExpr {
    if dice.percent(25) {
        let inner = Box::new(scalar(dice, levels.saturating_sub(1), quantifiers));
        let other = match dice.below(3) {
            0 => ScalarExpr::Field(number_field(dice)),
            _ => ScalarExpr::Literal(scalar_constant(dice)),
        };
        return match dice.below(4) {
            0 => ScalarExpr::Negate(inner),
            _ => ScalarExpr::Arithmetic(dice.pick(&ARITHMETIC), inner, Box::new(other)),
        };
    }
    let aggregate = aggregate(dice);
    if levels > 0 && dice.percent(20) {
        return ScalarExpr::Wrapped(Box::new(pipeline(dice, levels - 1, quantifiers)), aggregate);
    }
    ScalarExpr::Aggregate(aggregate)
}

fn number_field(dice: &Dice) -> Field {
    let name = if dice.percent(70) {
        FieldName::Intrinsic(dice.pick(&NUMBERS))
    } else {
        FieldName::Attribute(exact_attribute(dice))
    };
    field(dice, name)
}

fn scalar_constant(dice: &Dice) -> Literal {
    match dice.below(5) {
        0 => Literal::Duration(dice.pick(&DURATIONS) as i64),
        1 => Literal::Float(dice.pick(&FLOATS)),
        _ => Literal::Int(dice.below(5) as i64),
    }
}

fn aggregate(dice: &Dice) -> Aggregate {
    match dice.below(10) {
        0 => Aggregate::Min(number(dice, 1)),
        1 => Aggregate::Max(number(dice, 1)),
        2 => Aggregate::Sum(number(dice, 1)),
        3 => Aggregate::Avg(number(dice, 1)),
        4 => Aggregate::CountDistinct(FieldExpr::Field(field_of_any_kind(dice))),
        5 => Aggregate::Quantile(number(dice, 1), dice.pick(&QUANTILES)),
        _ => Aggregate::Count,
    }
}

// === Series ===

pub fn metrics(dice: &Dice) -> Metrics {
    match dice.below(8) {
        0 => {
            let (left, right) = (staged(dice, true), staged(dice, true));
            Metrics::Arithmetic(dice.pick(&SUMS_AND_PRODUCTS), Box::new(left), Box::new(right))
        }
        1 => {
            let (series, number) = (staged(dice, false), Metrics::Scalar(dice.pick(&FLOATS)));
            let (left, right) = if dice.percent(50) { (series, number) } else { (number, series) };
            Metrics::Arithmetic(dice.pick(&SUMS_AND_PRODUCTS), Box::new(left), Box::new(right))
        }
        _ => staged(dice, false),
    }
}

/// Series with or without a second stage. Quantiles are estimates, of which nobody knows which is larger.
fn staged(dice: &Dice, exact: bool) -> Metrics {
    let mut series = fold(dice);
    let is_estimate = |series: &Metrics| {
        matches!(series, Metrics::Fold { function: MetricsFunction::QuantileOverTime(..), .. })
    };
    while exact && is_estimate(&series) {
        series = fold(dice);
    }
    let is_exact = !is_estimate(&series);
    while is_exact && dice.percent(25) {
        series = Metrics::Second(Box::new(series), second_stage(dice));
    }
    series
}

fn second_stage(dice: &Dice) -> SecondStage {
    let count = 1 + dice.below(3) as u32;
    match dice.below(5) {
        0 => SecondStage::TopK(count),
        1 => SecondStage::BottomK(count),
        2 => SecondStage::Top(count),
        3 => SecondStage::Bottom(count),
        _ => SecondStage::Filter(dice.pick(&COMPARISONS), dice.below(4) as f64),
    }
}

fn fold(dice: &Dice) -> Metrics {
    let spans = if dice.percent(70) { plain_filter(dice) } else { pipeline(dice, 2, true) };
    let by = (0..dice.below(3)).map(|_| field_of_any_kind(dice)).collect();
    Metrics::Fold { spans, function: function(dice), by }
}

/// A fold that the sums that a store keeps may answer: of counts and durations by service, name and kind.
pub fn rollup(dice: &Dice) -> Metrics {
    let service = AttributeName { scope: Scope::Resource, key: "service.name".to_owned(), is_literal: false };
    let field = |name| Field { of_parent: false, name };
    let name = field(FieldName::Intrinsic(Intrinsic::Name));
    let labels =
        [field(FieldName::Attribute(service)), name.clone(), field(FieldName::Intrinsic(Intrinsic::Kind))];
    let conditions = [
        FieldExpr::Literal(Literal::Bool(true)),
        FieldExpr::Field(field(FieldName::Intrinsic(Intrinsic::Failed))),
        binary(Eq, FieldExpr::Field(name), FieldExpr::Literal(Literal::String(dice.pick(&NAMES).to_owned()))),
        binary(Eq, FieldExpr::Field(labels[2].clone()), FieldExpr::Literal(Literal::Kind(kind(dice)))),
        binary(
            Eq,
            FieldExpr::Field(labels[0].clone()),
            FieldExpr::Literal(Literal::String(dice.pick(&SERVICES).to_owned())),
        ),
    ];
    let (left, right) = (dice.pick(&conditions), dice.pick(&conditions));
    let condition = if dice.percent(40) { binary(And, left, right) } else { left };
    let duration = FieldExpr::Field(field(FieldName::Intrinsic(Intrinsic::Duration)));
    let function = match dice.below(4) {
        0 => MetricsFunction::Rate,
        1 => MetricsFunction::CountOverTime,
        2 => MetricsFunction::MaxOverTime(duration),
        _ => MetricsFunction::QuantileOverTime(duration, vec![dice.pick(&QUANTILES)]),
    };
    let by = labels.into_iter().filter(|_| dice.percent(40)).collect();
    let spans = Pipeline { stages: vec![Stage::Spans(SpanSetExpr::Filter(condition))] };
    Metrics::Fold { spans, function, by }
}

/// A comparison that gives all values.
pub fn compare(dice: &Dice, begin: u64) -> Metrics {
    let spans = if dice.percent(50) { plain_filter(dice) } else { pipeline(dice, 1, true) };
    let from = begin as i64 + dice.below(4) as i64 * 60_000_000_000;
    let range = dice.percent(30).then_some((from, from + 120_000_000_000));
    Metrics::Compare { spans, selection: condition(dice, 1), top: 1_000, range }
}

fn function(dice: &Dice) -> MetricsFunction {
    use MetricsFunction::*;
    match dice.below(10) {
        0 => Rate,
        1 | 2 => CountOverTime,
        3 => MinOverTime(number(dice, 1)),
        4 => MaxOverTime(number(dice, 1)),
        5 => SumOverTime(number(dice, 1)),
        6 => AvgOverTime(number(dice, 1)),
        7 => QuantileOverTime(number(dice, 1), vec![0.5, dice.pick(&[0.0, 0.9, 1.0])]),
        8 => HistogramOverTime(number(dice, 1)),
        _ => CountDistinctOverTime(FieldExpr::Field(field_of_any_kind(dice))),
    }
}
