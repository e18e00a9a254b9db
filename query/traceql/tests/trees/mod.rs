//! Random trees as the parser makes them: types fit, and no set stands in parentheses of its own.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use spandrel_traceql::ast::*;

const COMPARISONS: [BinaryOp; 6] =
    [BinaryOp::Eq, BinaryOp::Ne, BinaryOp::Lt, BinaryOp::Le, BinaryOp::Gt, BinaryOp::Ge];
const EQUALITY: [BinaryOp; 2] = [BinaryOp::Eq, BinaryOp::Ne];
const ARITHMETIC: [BinaryOp; 6] =
    [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div, BinaryOp::Mod, BinaryOp::Pow];

pub fn query() -> impl Strategy<Value = Query> {
    let body = prop_oneof![pipeline().prop_map(Body::Traces), series().prop_map(Body::Metrics)];
    (body, vec(hint(), 0..3)).prop_map(|(body, hints)| Query { body, hints })
}

fn hint() -> impl Strategy<Value = Hint> {
    let value = prop_oneof![
        number(),
        text(),
        any::<bool>().prop_map(Literal::Bool),
        Just(Literal::Nil),
        status(),
        kind()
    ];
    ("[a-z][a-z_]{0,6}", value).prop_map(|(name, value)| Hint { name, value })
}

// === constants ===

fn number() -> impl Strategy<Value = Literal> {
    prop_oneof![
        any::<i64>().prop_map(Literal::Int),
        (-9i64..10).prop_map(Literal::Int),
        (i64::MIN + 1..=i64::MAX).prop_map(Literal::Duration),
        (-5_000_000_000i64..5_000_000_000).prop_map(Literal::Duration),
        float().prop_map(Literal::Float),
    ]
}

fn float() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<f64>().prop_filter("finite", |float| float.is_finite()),
        (-99i32..99).prop_map(|n| f64::from(n) / 4.0)
    ]
}

fn text() -> impl Strategy<Value = Literal> {
    prop_oneof!["[a-z\\\\\"`\\n\\t ]{0,6}", any::<String>()].prop_map(Literal::String)
}

fn status() -> impl Strategy<Value = Literal> {
    select(vec![Status::Ok, Status::Error, Status::Unset]).prop_map(Literal::Status)
}

fn kind() -> impl Strategy<Value = Literal> {
    select(vec![
        Kind::Unspecified,
        Kind::Internal,
        Kind::Server,
        Kind::Client,
        Kind::Producer,
        Kind::Consumer,
    ])
    .prop_map(Literal::Kind)
}

// === fields ===

fn intrinsic(of: &[Intrinsic]) -> impl Strategy<Value = Field> + use<> {
    (any::<bool>(), select(of.to_vec())).prop_map(|(of_parent, intrinsic)| {
        // These have no name behind `parent.`.
        use Intrinsic::{
            NestedSetLeft, NestedSetParent, NestedSetRight, RootName, RootService, TraceDuration, TraceId,
        };
        let alone =
            [NestedSetLeft, NestedSetParent, NestedSetRight, RootName, RootService, TraceDuration, TraceId];
        Field { of_parent: of_parent && !alone.contains(&intrinsic), name: FieldName::Intrinsic(intrinsic) }
    })
}

/// Boxed, because what is made of it would not fit the stack of a test else.
fn attribute() -> BoxedStrategy<Field> {
    let scopes =
        [Scope::Any, Scope::Span, Scope::Resource, Scope::Event, Scope::Link, Scope::Instrumentation];
    // Some are also names of intrinsics, or begin with a scope.
    let names = [
        "duration",
        "kind",
        "span:id",
        "trace:id",
        "span.x",
        "resource.y.z",
        "parent",
        "parent.x",
        ".x",
        "..x",
    ];
    let names = select(names.to_vec()).prop_map(str::to_owned);
    let plain = prop_oneof!["[a-zé.][a-z0-9.:/*+%_-]{0,6}", names].prop_map(|key| (key, false));
    let quoted = prop_oneof!["[a-z \\\\\"{}()=|\\n]{1,6}", ".{1,5}"].prop_map(|key| (key, true));
    (any::<bool>(), select(scopes.to_vec()), prop_oneof![plain, quoted])
        .prop_map(|(of_parent, scope, (key, is_literal))| Field {
            of_parent,
            name: FieldName::Attribute(AttributeName { scope, key, is_literal }),
        })
        .boxed()
}

fn number_field() -> impl Strategy<Value = Field> {
    use Intrinsic::*;
    let intrinsics = [
        Duration,
        ChildCount,
        TraceDuration,
        EventTimeSinceStart,
        NestedSetLeft,
        NestedSetRight,
        NestedSetParent,
    ];
    prop_oneof![intrinsic(&intrinsics), attribute()]
}

fn text_field() -> impl Strategy<Value = Field> {
    use Intrinsic::*;
    let intrinsics = [
        Name,
        StatusMessage,
        SpanId,
        ParentId,
        RootName,
        RootService,
        TraceId,
        EventName,
        LinkTraceId,
        LinkSpanId,
        InstrumentationName,
        InstrumentationVersion,
        Mesh(MeshField::Workload),
        Mesh(MeshField::Flags),
    ];
    prop_oneof![intrinsic(&intrinsics), attribute()]
}

fn any_field() -> impl Strategy<Value = Field> {
    use Intrinsic::*;
    prop_oneof![number_field(), text_field(), intrinsic(&[Kind, Status, Failed, Root, Entry])]
}

// === expressions on a span ===

fn binary(op: BinaryOp, left: FieldExpr, right: FieldExpr) -> FieldExpr {
    FieldExpr::Binary(op, Box::new(left), Box::new(right))
}

fn number_expr() -> impl Strategy<Value = FieldExpr> {
    let leaf = prop_oneof![number().prop_map(FieldExpr::Literal), number_field().prop_map(FieldExpr::Field)];
    leaf.prop_recursive(4, 12, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| FieldExpr::Negate(Box::new(inner))),
            (select(ARITHMETIC.to_vec()), inner.clone(), inner).prop_map(|(op, l, r)| binary(op, l, r)),
        ]
    })
}

/// A number that differs between spans.
fn span_number() -> impl Strategy<Value = FieldExpr> {
    let leaf = number_field().prop_map(FieldExpr::Field);
    (leaf, select(ARITHMETIC.to_vec()), option::of(number_expr())).prop_map(
        |(field, op, other)| match other {
            Some(other) => binary(op, other, field),
            None => field,
        },
    )
}

fn comparison() -> impl Strategy<Value = FieldExpr> {
    let words = [BinaryOp::Contains, BinaryOp::StartsWith, BinaryOp::EndsWith];
    let regexes = [BinaryOp::Matches, BinaryOp::MatchesNot];
    let string =
        prop_oneof![text().prop_map(FieldExpr::Literal), text_field().prop_map(FieldExpr::Field)].boxed();
    let field =
        |intrinsic| FieldExpr::Field(Field { of_parent: false, name: FieldName::Intrinsic(intrinsic) });
    prop_oneof![
        (select(COMPARISONS.to_vec()), number_expr(), number_expr()).prop_map(|(op, l, r)| binary(op, l, r)),
        (select([COMPARISONS.as_slice(), &words].concat()), string.clone(), string.clone())
            .prop_map(|(op, l, r)| binary(op, l, r)),
        (select(regexes.to_vec()), string, select(vec!["a.*", "x|y", "\\d+"])).prop_map(|(op, l, r)| binary(
            op,
            l,
            FieldExpr::Literal(Literal::String(r.to_owned()))
        )),
        (select(EQUALITY.to_vec()), status(), any::<bool>()).prop_map(move |(op, status, swap)| {
            let (l, r) = (field(Intrinsic::Status), FieldExpr::Literal(status));
            if swap { binary(op, r, l) } else { binary(op, l, r) }
        }),
        (select(EQUALITY.to_vec()), kind()).prop_map(move |(op, kind)| binary(
            op,
            field(Intrinsic::Kind),
            FieldExpr::Literal(kind)
        )),
        (
            select(EQUALITY.to_vec()),
            attribute().prop_filter("may be absent", |field| field.to_string() != "resource.service.name")
        )
            .prop_map(|(op, field)| binary(
                op,
                FieldExpr::Field(field),
                FieldExpr::Literal(Literal::Nil)
            )),
        select(EQUALITY.to_vec()).prop_map(move |op| binary(
            op,
            FieldExpr::Literal(Literal::Nil),
            field(Intrinsic::Parent)
        )),
    ]
}

fn condition() -> impl Strategy<Value = FieldExpr> {
    let leaf = prop_oneof![
        comparison(),
        any::<bool>().prop_map(|flag| FieldExpr::Literal(Literal::Bool(flag))),
        attribute().prop_map(FieldExpr::Field),
        intrinsic(&[Intrinsic::Failed, Intrinsic::Root, Intrinsic::Entry]).prop_map(FieldExpr::Field),
    ];
    leaf.prop_recursive(4, 12, 2, |inner| {
        let joins = [BinaryOp::And, BinaryOp::Or, BinaryOp::Eq, BinaryOp::Ne];
        prop_oneof![
            inner.clone().prop_map(|inner| FieldExpr::Not(Box::new(inner))),
            (select(joins.to_vec()), inner.clone(), inner).prop_map(|(op, l, r)| binary(op, l, r)),
        ]
    })
}

// === sets and pipelines ===

fn structural() -> impl Strategy<Value = SpanSetOp> {
    use Relation::*;
    use StructuralResult::*;
    (select(vec![Child, Parent, Descendant, Ancestor, Sibling]), select(vec![Right, RightWithout, Both]))
        .prop_map(|(relation, result)| SpanSetOp::Structural { relation, result })
}

fn logical() -> impl Strategy<Value = SpanSetOp> {
    select(vec![SpanSetOp::And, SpanSetOp::Or])
}

fn join(op: SpanSetOp, left: SpanSetExpr, right: SpanSetExpr) -> SpanSetExpr {
    SpanSetExpr::Binary(op, Box::new(left), Box::new(right))
}

/// Sets without `none` and `all`.
fn spans() -> impl Strategy<Value = SpanSetExpr> {
    let leaf = condition().prop_map(SpanSetExpr::Filter);
    leaf.prop_recursive(3, 6, 2, |inner| {
        let stage = prop_oneof![plain_stage(), inner.clone().prop_map(Stage::Spans)];
        prop_oneof![
            (prop_oneof![structural(), logical()], inner.clone(), inner.clone())
                .prop_map(|(op, l, r)| join(op, l, r)),
            (plain_stage(), vec(stage, 0..2)).prop_map(|(last, mut stages)| {
                stages.push(last);
                SpanSetExpr::Wrapped(Box::new(Pipeline { stages }))
            }),
        ]
    })
}

fn all_spans() -> impl Strategy<Value = SpanSetExpr> {
    spans().prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            inner.clone().prop_map(|spans| SpanSetExpr::None(Box::new(spans))),
            inner.clone().prop_map(|spans| SpanSetExpr::All(Box::new(spans))),
            (logical(), inner.clone(), inner).prop_map(|(op, l, r)| join(op, l, r)),
        ]
    })
}

/// A stage without sets that may stand first.
fn plain_stage() -> impl Strategy<Value = Stage> {
    let key = prop_oneof![any_field().prop_map(FieldExpr::Field), span_number()];
    let simple = scalar(aggregate().prop_map(ScalarExpr::Aggregate).boxed());
    prop_oneof![
        vec(key, 1..4).prop_map(Stage::By),
        vec(any_field(), 1..4).prop_map(Stage::Select),
        filter(simple.boxed()),
    ]
}

fn filter(aggregates: BoxedStrategy<ScalarExpr>) -> impl Strategy<Value = Stage> {
    let other = prop_oneof![
        aggregates.clone(),
        number().prop_map(ScalarExpr::Literal),
        number_field().prop_map(ScalarExpr::Field),
    ];
    (select(COMPARISONS.to_vec()), aggregates, other, any::<bool>()).prop_map(|(op, left, right, swap)| {
        let (left, right) = if swap { (right, left) } else { (left, right) };
        Stage::Filter(ScalarFilter { op, left, right })
    })
}

fn aggregate() -> impl Strategy<Value = Aggregate> {
    prop_oneof![
        Just(Aggregate::Count),
        span_number().prop_map(Aggregate::Min),
        span_number().prop_map(Aggregate::Max),
        span_number().prop_map(Aggregate::Sum),
        span_number().prop_map(Aggregate::Avg),
        any_field().prop_map(|field| Aggregate::CountDistinct(FieldExpr::Field(field))),
        (span_number(), 0.0..=1.0).prop_map(|(expr, q)| Aggregate::Quantile(expr, q)),
    ]
}

/// Numbers with an aggregate in them.
fn scalar(leaf: BoxedStrategy<ScalarExpr>) -> impl Strategy<Value = ScalarExpr> {
    leaf.prop_recursive(3, 6, 2, |inner| {
        let other = prop_oneof![
            inner.clone(),
            number().prop_map(ScalarExpr::Literal),
            number_field().prop_map(ScalarExpr::Field),
            number().prop_map(|number| ScalarExpr::Negate(Box::new(ScalarExpr::Literal(number)))),
        ];
        let arithmetic = |(op, left, right, swap)| {
            let (left, right) = if swap { (right, left) } else { (left, right) };
            ScalarExpr::Arithmetic(op, Box::new(left), Box::new(right))
        };
        prop_oneof![
            inner.clone().prop_map(|inner| ScalarExpr::Negate(Box::new(inner))),
            (select(ARITHMETIC.to_vec()), inner, other, any::<bool>()).prop_map(arithmetic),
        ]
    })
}

fn pipeline() -> impl Strategy<Value = Pipeline> {
    let stage = || prop_oneof![all_spans().prop_map(Stage::Spans), plain_stage()];
    let wrapped = (vec(stage(), 1..3), aggregate())
        .prop_map(|(stages, aggregate)| ScalarExpr::Wrapped(Box::new(Pipeline { stages }), aggregate));
    let first = prop_oneof![4 => stage(), 1 => filter(scalar(wrapped.boxed()).boxed())];
    let later = prop_oneof![4 => stage(), 1 => Just(Stage::Coalesce)];
    (first, vec(later, 0..3)).prop_map(|(first, mut stages)| {
        stages.insert(0, first);
        Pipeline { stages }
    })
}

// === series ===

fn fold() -> impl Strategy<Value = Metrics> {
    use MetricsFunction::*;
    let function = prop_oneof![
        Just(Rate),
        Just(CountOverTime),
        span_number().prop_map(MinOverTime),
        span_number().prop_map(MaxOverTime),
        span_number().prop_map(SumOverTime),
        span_number().prop_map(AvgOverTime),
        span_number().prop_map(HistogramOverTime),
        (span_number(), vec(0.0..=1.0, 1..4)).prop_map(|(expr, quantiles)| QuantileOverTime(expr, quantiles)),
        any_field().prop_map(|field| CountDistinctOverTime(FieldExpr::Field(field))),
    ];
    (pipeline(), function, vec(any_field(), 0..7)).prop_map(|(spans, function, by)| Metrics::Fold {
        spans,
        function,
        by,
    })
}

fn compare() -> impl Strategy<Value = Metrics> {
    (pipeline(), condition(), 1u32..=1_000, option::of((0..i64::MAX, 0..i64::MAX)))
        .prop_map(|(spans, selection, top, range)| Metrics::Compare { spans, selection, top, range })
}

fn second_stage() -> impl Strategy<Value = SecondStage> {
    prop_oneof![
        (1..u32::MAX).prop_map(SecondStage::TopK),
        (1..u32::MAX).prop_map(SecondStage::BottomK),
        (1..u32::MAX).prop_map(SecondStage::Top),
        (1..u32::MAX).prop_map(SecondStage::Bottom),
        (select(COMPARISONS.to_vec()), float()).prop_map(|(op, number)| SecondStage::Filter(op, number)),
    ]
}

fn series() -> impl Strategy<Value = Metrics> {
    let combined = fold().prop_recursive(3, 5, 2, |inner| {
        let other = prop_oneof![inner.clone(), float().prop_map(Metrics::Scalar)];
        let op = select(vec![BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div]);
        prop_oneof![
            (inner.clone(), second_stage())
                .prop_map(|(series, stage)| Metrics::Second(Box::new(series), stage)),
            (op, inner, other, any::<bool>()).prop_map(|(op, left, right, swap)| {
                let (left, right) = if swap { (right, left) } else { (left, right) };
                Metrics::Arithmetic(op, Box::new(left), Box::new(right))
            }),
        ]
    });
    prop_oneof![5 => combined, 1 => compare()]
}
