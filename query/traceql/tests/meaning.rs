//! What texts mean: precedence, names, constants and limits, seen through how trees are printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may stop at the first surprise"
)]

use proptest::prelude::*;
use spandrel_traceql::ast::{
    Aggregate, AttributeName, BinaryOp, Body, Field, FieldExpr, FieldName, Intrinsic, Literal, Metrics,
    Pipeline, Query, ScalarExpr, Scope, SecondStage, SpanSetExpr, Stage,
};
use spandrel_traceql::{ErrorKind, MAX_QUERY_BYTES, MAX_REGEXES, anchored_regex, parse};

fn check(text: &str, printed: &str) {
    let query = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(query.to_string(), printed, "{text}");
}

/// Both texts give the same tree.
fn same(left: &str, right: &str) {
    assert_eq!(parse(left).expect(left), parse(right).expect(right), "{left} and {right}");
}

fn different(left: &str, right: &str) {
    assert_ne!(parse(left).expect(left), parse(right).expect(right), "{left} and {right}");
}

/// The condition of a query that is one filter.
fn condition(text: &str) -> FieldExpr {
    match parse(text).expect(text).body {
        Body::Traces(Pipeline { mut stages }) => match stages.pop() {
            Some(Stage::Spans(SpanSetExpr::Filter(condition))) => condition,
            other => panic!("{text}: {other:?}"),
        },
        Body::Metrics(series) => panic!("{text}: {series:?}"),
    }
}

/// The constant of `{ .a = constant }`.
fn constant(text: &str) -> Literal {
    match condition(&format!("{{ .a = {text} }}")) {
        FieldExpr::Binary(BinaryOp::Eq, _, right) => match *right {
            FieldExpr::Literal(literal) => literal,
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

/// The field of `{ field != nil }`.
fn field(text: &str) -> Field {
    match condition(&format!("{{ {text} != nil }}")) {
        FieldExpr::Binary(BinaryOp::Ne, left, _) => match *left {
            FieldExpr::Field(field) => field,
            other => panic!("{text}: {other:?}"),
        },
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_empty_query_selects_every_span() {
    for text in ["", "  ", "\n", "{}", "{ true }", "// nothing"] {
        check(text, "{ }");
    }
}

#[test]
fn and_and_or_bind_equally_from_the_left() {
    same("{ .a || .b && .c }", "{ (.a || .b) && .c }");
    same("{ .a && .b || .c }", "{ (.a && .b) || .c }");
    different("{ .a || .b && .c }", "{ .a || (.b && .c) }");
    same("{ .a } || { .b } && { .c }", "({ .a } || { .b }) && { .c }");
    check("{ .a || (.b && .c) }", "{ .a || (.b && .c) }");
    check("{ ((.a || .b)) && .c }", "{ .a || .b && .c }");
}

#[test]
fn operators_bind_as_in_tempo() {
    same("{ .a + 1 = 2 && .b * 2 > 3 ^ 2 }", "{ ((.a + 1) = 2) && ((.b * 2) > (3 ^ 2)) }");
    same("{ .a - 1 - 1 = 0 }", "{ (.a - 1) - 1 = 0 }");
    same("{ 2 ^ .a ^ .b = 8 }", "{ 2 ^ (.a ^ .b) = 8 }");
    same("{ .a = 1 = true }", "{ (.a = 1) = true }");
    same("{ !.a = .b }", "{ (!.a) = .b }");
    same("{ -.a + .b > 0 }", "{ (-.a) + .b > 0 }");
    same("{ -.a * .b > 0 }", "{ -(.a * .b) > 0 }");
    same("{ .c - -.a + .b > 0 }", "{ (.c - (-.a)) + .b > 0 }");
    same("{ name contains \"x\" && .a }", "{ (name contains \"x\") && .a }");
    same("{ .a } && { .b } >> { .c }", "{ .a } && ({ .b } >> { .c })");
    same("{ .a } >> { .b } ~ { .c }", "({ .a } >> { .b }) ~ { .c }");
    same("count() + 1 * 2 > 3", "(count() + (1 * 2)) > 3");
    same("({ } | rate()) + ({ } | rate()) * 2", "({ } | rate()) + (({ } | rate()) * 2)");
}

#[test]
fn a_sign_belongs_to_a_number_unless_something_binds_more_tightly() {
    assert_eq!(constant("-5"), Literal::Int(-5));
    assert_eq!(constant("- 5"), Literal::Int(-5));
    assert_eq!(constant("-1.5s"), Literal::Duration(-1_500_000_000));
    same("{ -2 ^ 2 = .a }", "{ -(2 ^ 2) = .a }");
    different("{ -2 ^ 2 = .a }", "{ (-2) ^ 2 = .a }");
    different("{ -(5) = .a }", "{ -5 = .a }");
    check("{ .a * (-1) * .b = 2 }", "{ .a * (-1) * .b = 2 }");
    check("{ .a - -1 = 2 }", "{ .a - -1 = 2 }");
    check("{ -(5) = .a }", "{ -(5) = .a }");
}

#[test]
fn names_have_scopes() {
    let attribute = |of_parent, scope, key: &str, is_literal| Field {
        of_parent,
        name: FieldName::Attribute(AttributeName { scope, key: key.to_owned(), is_literal }),
    };
    let check = |text: &str, wanted: Field, printed: &str| {
        let found = field(text);
        assert_eq!(found, wanted, "{text}");
        assert_eq!(found.to_string(), printed, "{text}");
    };
    check(".a.b", attribute(false, Scope::Any, "a.b", false), ".a.b");
    check("span.a-b/c", attribute(false, Scope::Span, "a-b/c", false), "span.a-b/c");
    check("resource.name", attribute(false, Scope::Resource, "name", false), "resource.name");
    check("event.x", attribute(false, Scope::Event, "x", false), "event.x");
    check("link.x", attribute(false, Scope::Link, "x", false), "link.x");
    check("instrumentation.x", attribute(false, Scope::Instrumentation, "x", false), "instrumentation.x");
    check("span.span.x", attribute(false, Scope::Span, "span.x", false), "span.span.x");
    check(r#"."a b""#, attribute(false, Scope::Any, "a b", true), r#"."a b""#);
    check(
        r#"span.a."b \"c\"".d"#,
        attribute(false, Scope::Span, "a.b \"c\".d", true),
        r#"span."a.b \"c\".d""#,
    );
    check("parent.x", attribute(true, Scope::Any, "x", false), "parent.x");
    check("parent.span.x", attribute(true, Scope::Span, "x", false), "parent.span.x");
    check(
        "parent.resource.service.name",
        attribute(true, Scope::Resource, "service.name", false),
        "parent.resource.service.name",
    );
    check("parent.name.x", attribute(true, Scope::Any, "name.x", false), "parent.name.x");
    check("parent.failed", attribute(true, Scope::Any, "failed", false), "parent.failed");
    check("parent.a:b", attribute(true, Scope::Any, "a:b", false), "parent.a:b");
    check(r#"parent."name""#, attribute(true, Scope::Any, "name", true), r#"parent."name""#);
}

#[test]
fn intrinsics_have_old_and_new_names() {
    let check = |text: &str, of_parent: bool, intrinsic: Intrinsic, printed: &str| {
        let found = field(text);
        assert_eq!(found, Field { of_parent, name: FieldName::Intrinsic(intrinsic) }, "{text}");
        assert_eq!(found.to_string(), printed, "{text}");
    };
    check("duration", false, Intrinsic::Duration, "duration");
    check("span:duration", false, Intrinsic::Duration, "duration");
    check("traceDuration", false, Intrinsic::TraceDuration, "trace:duration");
    check("rootName", false, Intrinsic::RootName, "trace:rootName");
    check("rootServiceName", false, Intrinsic::RootService, "trace:rootService");
    check("childCount", false, Intrinsic::ChildCount, "span:childCount");
    check("span:entry", false, Intrinsic::Entry, "entry");
    check("parent", false, Intrinsic::Parent, "parent");
    check("parent.duration", true, Intrinsic::Duration, "parent.duration");
    check("parent.span:duration", true, Intrinsic::Duration, "parent.duration");
    check("parent.statusMessage", true, Intrinsic::StatusMessage, "parent.statusMessage");
    check("parent.span:failed", true, Intrinsic::Failed, "parent.span:failed");
    check("parent.event:name", true, Intrinsic::EventName, "parent.event:name");
}

#[test]
fn constants_are_read_exactly() {
    let check = |text: &str, wanted: Literal, printed: &str| {
        let found = constant(text);
        assert_eq!(found, wanted, "{text}");
        assert_eq!(found.to_string(), printed, "{text}");
    };
    check("007", Literal::Int(7), "7");
    check("maxInt", Literal::Int(i64::MAX), "9223372036854775807");
    check("minInt", Literal::Int(i64::MIN), "minInt");
    check("1.", Literal::Float(1.0), "1.0");
    check(".5", Literal::Float(0.5), "0.5");
    check("1e3", Literal::Float(1000.0), "1000.0");
    check("2E-9", Literal::Float(2e-9), "2e-9");
    check("1h30m", Literal::Duration(5_400_000_000_000), "1h30m");
    check("90m", Literal::Duration(5_400_000_000_000), "1h30m");
    check("1d", Literal::Duration(86_400_000_000_000), "24h");
    check("1500us", Literal::Duration(1_500_000), "1.5ms");
    check("0s", Literal::Duration(0), "0s");
    check(r#""\x41\u00e9\U0001F600\101\t""#, Literal::String("Aé😀A\t".to_owned()), r#""Aé😀A\t""#);
    check(r"`\d+`", Literal::String(r"\d+".to_owned()), r"`\d+`");
    check(r#""\\d`""#, Literal::String(r"\d`".to_owned()), r#""\\d`""#);
}

#[test]
fn words_are_operators_only_where_one_may_stand() {
    check("{ .contains contains \"contains\" }", "{ .contains contains \"contains\" }");
    check("{ span.startsWith && name startsWith `x` }", "{ span.startsWith && name startsWith \"x\" }");
    check("{ } | select(.by, .count) | by(.select)", "{ } | select(.by, .count) | by(.select)");
}

#[test]
fn parentheses_hold_sets_numbers_and_series() {
    check("({ .a })", "{ .a }");
    check("(({ .a } || { .b }))", "{ .a } || { .b }");
    check("(count()) > (1)", "count() > 1");
    check("(count() > 1)", "(count() > 1)");
    check("({ .a } | { .b })", "({ .a } | { .b })");
    check("(({ } | rate()))", "{ } | rate()");
    check("none(({ .a }))", "none({ .a })");
    check("none(({ .a } | { .b }))", "none({ .a } | { .b })");
    let Body::Traces(Pipeline { stages }) = parse("({ .a } | count()) > 2").unwrap().body else { panic!() };
    let [Stage::Filter(filter)] = stages.as_slice() else { panic!("{stages:?}") };
    assert!(matches!(&filter.left, ScalarExpr::Wrapped(_, Aggregate::Count)));
}

#[test]
fn constants_between_series_are_folded() {
    let filter = |text: &str| match parse(text).expect(text).body {
        Body::Metrics(Metrics::Second(_, SecondStage::Filter(_, number))) => number,
        other => panic!("{text}: {other:?}"),
    };
    assert_eq!(filter("{ } | rate() > 7 / 2"), 3.0);
    assert_eq!(filter("{ } | rate() > 7 / 2.0"), 3.5);
    assert_eq!(filter("{ } | rate() > -(1 + 2) * 2"), -6.0);
    assert_eq!(filter("({ } | max_over_time(duration)) > 1.5s"), 1.5e9);
    check("2 * 30 * ({ } | rate())", "60 * ({ } | rate())");
    check("({ } | rate()) * 2 * 3", "({ } | rate()) * 2 * 3");
}

#[test]
fn hints_keep_their_order_and_may_come_in_parts() {
    check("{ } with(b = 1) with ( a = \"x\", c = -2s )", "{ } with(b = 1, a = \"x\", c = -2s)");
    let Query { hints, .. } = parse("{ } | rate() with(exemplars = 10)").unwrap();
    assert_eq!((hints[0].name.as_str(), &hints[0].value), ("exemplars", &Literal::Int(10)));
}

#[test]
fn errors_read_well_in_one_line() {
    let error = parse("{ name = \"GET\" && duration > \"5s\" }").unwrap_err();
    assert_eq!(
        error.to_string(),
        "at character 30 (\"5s\"): duration is compared with a duration like 100ms, or a number of nanoseconds, not \
         with a string"
    );
    let error = parse("{ .ä = \"ä\"").unwrap_err();
    assert!(
        error.to_string().starts_with("at character 11 (the end of the query): expected an operator"),
        "{error}"
    );
    let long = format!("{{ {} }}", "x".repeat(100));
    assert_eq!(parse(&long).unwrap_err().found, format!("{}...", "x".repeat(40)));
}

#[test]
fn regular_expressions_match_whole_values() {
    let regex = anchored_regex("a|b").unwrap();
    assert!(regex.is_match("a") && regex.is_match("b") && !regex.is_match("ab"));
    assert!(anchored_regex(".*b.*").unwrap().is_match("a\nb\nc"));
    assert!(anchored_regex("a)(b").is_err());
    assert!(anchored_regex("a\\").unwrap_err().contains("not valid"));
    assert!(anchored_regex("(((a{100}){100}){100})").unwrap_err().contains("smaller"));
}

#[test]
fn hostile_depth_and_length_are_refused() {
    let limit = |text: &str| {
        let error = parse(text).expect_err("too deep");
        assert_eq!(error.kind, ErrorKind::Limit, "{error}");
    };
    for n in [200, 60_000, 100_000] {
        for open in ["(", "!", "-", "!(", "-(", "2^"] {
            let text = format!("{{ {} }}", open.repeat(n));
            if text.len() <= MAX_QUERY_BYTES {
                limit(&text);
                if !open.contains('!') {
                    limit(&text[2..]);
                }
            }
        }
        if n * "none(".len() <= MAX_QUERY_BYTES {
            limit(&"none(".repeat(n));
        }
    }
    limit(&format!("{{ .a = \"{}\" }}", "x".repeat(MAX_QUERY_BYTES)));
    // Each is compiled, in some milliseconds.
    let regexes = |n| format!("{{ {} }}", vec![".a =~ `\\w{5}`"; n].join(" || "));
    parse(&regexes(MAX_REGEXES)).unwrap();
    limit(&regexes(MAX_REGEXES + 1));
    let nested = |n: usize| format!("{{ {}.a=1{} }}", "(".repeat(n), ")".repeat(n));
    assert!(parse(&nested(100)).is_ok());
}

#[test]
fn long_chains_are_bounded() {
    let chains: [fn(usize) -> String; 5] = [
        |n| format!("{{ .a{} }}", " || .b".repeat(n)),
        |n| format!("{{ .a = 1{} }}", " + 1".repeat(n)),
        |n| format!("{{ }}{}", ">{ }".repeat(n)),
        |n| format!("count(){} > 1", "+1".repeat(n)),
        |n| format!("{{ }} | rate(){}", " > 1".repeat(n)),
    ];
    for chain in chains {
        assert!(parse(&chain(900)).is_ok());
        for n in [1_100, 20_000] {
            assert_eq!(parse(&chain(n)).unwrap_err().kind, ErrorKind::Limit);
        }
    }
    // Stages are a list, which nobody walks by recursion.
    assert!(parse(&format!("{{ }}{}", " | { }".repeat(20_000))).is_ok());
}

fn fragment() -> impl Strategy<Value = String> {
    let words = [
        "{",
        "}",
        "(",
        ")",
        "&&",
        "||",
        "=",
        "!=",
        "=~",
        "<",
        ">",
        ">>",
        "!>>",
        "&~",
        "!",
        "|",
        " ",
        ",",
        ".a",
        "span.",
        "parent.",
        "resource.b",
        "\"",
        "`",
        "\\",
        "name",
        "duration",
        "status",
        "error",
        "nil",
        "1",
        "-",
        "^",
        "1.5s",
        "\"x\"",
        "ä",
        "span:",
        ":",
        "count()",
        "avg(",
        "by(",
        "rate()",
        "topk(2)",
        "compare(",
        "with(",
        "none(",
        "coalesce()",
        "contains",
        "/*",
        "//",
        "{ }",
        "{ .a } | ",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn never_panics_on_any_text(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn near_misses_are_refused_with_a_place(text in fragment()) {
        match parse(&text) {
            Ok(query) => prop_assert_eq!(parse(&query.to_string()), Ok(query)),
            Err(error) => prop_assert!(error.column <= text.chars().count() + 1),
        }
    }
}
