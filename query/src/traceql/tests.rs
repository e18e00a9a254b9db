//! Tests of the parser: predicates and errors.

use proptest::prelude::*;
use spandrel_storage::plan::{AttributeScope, Comparison, Field, Literal};

use super::*;

fn check(text: &str, rendered: &str) {
    let predicate = parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(render(&predicate), rendered, "{text}");
}

fn check_error(text: &str, kind: QueryErrorKind, position: usize, part: &str) {
    let error = parse(text).map(|p| render(&p)).expect_err(text);
    assert_eq!((error.kind, error.position), (kind, position), "{text}: {error}");
    assert!(error.message.contains(part), "{text}: {error}");
}

/// A predicate as text, with every grouping shown.
fn render(predicate: &Predicate) -> String {
    let all = |word: &str, list: &[Predicate]| {
        format!("{word}({})", list.iter().map(render).collect::<Vec<_>>().join(", "))
    };
    match predicate {
        Predicate::All => "all".to_owned(),
        Predicate::And(list) => all("and", list),
        Predicate::Or(list) => all("or", list),
        Predicate::Exists(field) => format!("exists {}", render_field(field)),
        Predicate::Absent(field) => format!("absent {}", render_field(field)),
        Predicate::Compare(field, comparison) => {
            let (operator, right) = match comparison {
                Comparison::Eq(l) => ("=", render_literal(l)),
                Comparison::Ne(l) => ("!=", render_literal(l)),
                Comparison::Lt(l) => ("<", render_literal(l)),
                Comparison::Le(l) => ("<=", render_literal(l)),
                Comparison::Gt(l) => (">", render_literal(l)),
                Comparison::Ge(l) => (">=", render_literal(l)),
                Comparison::Matches(r) => ("=~", r.to_string()),
                Comparison::MatchesNot(r) => ("!~", r.to_string()),
            };
            format!("{} {operator} {right}", render_field(field))
        }
    }
}

fn render_field(field: &Field) -> String {
    match field {
        Field::Attribute(AttributeScope::Any, name) => format!("any[{name}]"),
        Field::Attribute(AttributeScope::Span, name) => format!("span[{name}]"),
        Field::Attribute(AttributeScope::Resource, name) => format!("resource[{name}]"),
        intrinsic => format!("{intrinsic:?}"),
    }
}

fn render_literal(literal: &Literal) -> String {
    match literal {
        Literal::String(text) => format!("{text:?}"),
        Literal::Int(int) => format!("{int}"),
        Literal::Float(float) => format!("{float:?}"),
        other => format!("{other:?}"),
    }
}

#[test]
fn selectors_without_a_condition() {
    for text in ["", "   ", "{}", " { } ", "{true}"] {
        check(text, "all");
    }
    check("{ false }", "or()");
    check("{ false || failed }", "or(or(), Failed = Bool(true))");
}

#[test]
fn fields_and_their_synonyms() {
    check(r#"{ name = "GET /" }"#, r#"Name = "GET /""#);
    check(r#"{span:name="x"}"#, r#"Name = "x""#);
    check("{duration>100ms}", "Duration > 100000000");
    check("{ span:duration <= 1.5s }", "Duration <= 1500000000");
    check("{ duration >= 250000 }", "Duration >= 250000");
    check("{status=error}", "Status = Status(Error)");
    check("{ span:status != unset }", "Status != Status(Unset)");
    check("{ kind = server }", "Kind = Kind(Server)");
    check("{ span:kind = unspecified }", "Kind = Kind(Unspecified)");
    check("{ failed }", "Failed = Bool(true)");
    check("{ failed = false }", "Failed = Bool(false)");
    check("{ .cached }", "any[cached] = Bool(true)");
    check(r#"{ .a-b/c:d = "x" }"#, r#"any[a-b/c:d] = "x""#);
    check("{ span.http.status_code >= 500 }", "span[http.status_code] >= 500");
    check(r#"{resource.service.name="cart"}"#, r#"resource[service.name] = "cart""#);
    check(r#"{ span."key with space" = 1 }"#, "span[key with space] = 1");
    check(r#"{ ."a\"b\\c".d = 1 }"#, "any[a\"b\\c.d] = 1");
    check(r#"{ resource.a."b c" != nil }"#, "exists resource[a.b c]");
    check("{ .gone = nil }", "absent any[gone]");
}

#[test]
fn literals() {
    check(r#"{ .a = "q\"\\\n\tA\x41" }"#, r#"any[a] = "q\"\\\n\tAA""#);
    check(r"{ .a = `raw\n` }", r#"any[a] = "raw\\n""#);
    check("{ .a = -5 }", "any[a] = -5");
    check("{ .a = 1.5 }", "any[a] = 1.5");
    check("{ .a = .5 }", "any[a] = 0.5");
    check("{ .a = 1e-3 }", "any[a] = 0.001");
    check("{ .a = 2E6 }", "any[a] = 2000000.0");
    check("{ .a = true }", "any[a] = Bool(true)");
    check("{ .a = 1h30m }", "any[a] = 5400000000000");
    check("{ duration > 100us }", "Duration > 100000");
    check("{ duration > 100\u{b5}s }", "Duration > 100000");
    check("{ duration > 250000ns }", "Duration > 250000");
    check("{ duration > -1s }", "Duration > -1000000000");
    check(r#"{ .a =~ "x.*" }"#, "any[a] =~ ^(?:x.*)$");
    check("{ name !~ `a|b` }", "Name !~ ^(?:a|b)$");
    check(r#"{ name < "b" }"#, r#"Name < "b""#);
}

#[test]
fn constants_on_the_left_are_mirrored() {
    check("{ 100ms < duration }", "Duration > 100000000");
    check("{ 1 >= .a }", "any[a] <= 1");
    check("{ error = status }", "Status = Status(Error)");
    check("{ nil != .a }", "exists any[a]");
}

#[test]
fn and_and_or_bind_equally_from_the_left() {
    check("{ .a && .b && .c }", "and(any[a] = Bool(true), any[b] = Bool(true), any[c] = Bool(true))");
    check("{ .a=1 || .b=2 && .c=3 }", "and(or(any[a] = 1, any[b] = 2), any[c] = 3)");
    check("{ .a=1 || (.b=2 && .c=3) }", "or(any[a] = 1, and(any[b] = 2, any[c] = 3))");
    check("{ ((.a=1)) }", "any[a] = 1");
}

#[test]
fn what_is_not_traceql() {
    use QueryErrorKind::Syntax;
    check_error("name = \"x\"", Syntax, 1, "in braces");
    check_error("{ name = \"x\"", Syntax, 13, "closing brace");
    check_error("{ name = \"x }", Syntax, 10, "closing double quote");
    check_error("{ name = `x }", Syntax, 10, "backtick");
    check_error("{ name = 'x' }", Syntax, 10, "double quotes");
    check_error("{ name == \"x\" }", Syntax, 8, "one =");
    check_error("{ name = cart }", Syntax, 10, "needs double quotes");
    check_error("{ service.name = \"x\" }", Syntax, 3, "resource.service.name");
    check_error("{ . = 1 }", Syntax, 4, "name of an attribute");
    check_error("{ .a = }", Syntax, 8, "expected a field");
    check_error("{ .a & .b }", Syntax, 6, "&&");
    check_error("{ } }", Syntax, 5, "end behind");
    check_error("{ .a = 99999999999999999999 }", Syntax, 8, "64 bits");
    check_error("{ .a = 5parsecs }", Syntax, 8, "duration");
    check_error("{ .a = \"\\d\" }", Syntax, 9, "backticks");
    check_error("{ .ä = \"ä\" && \u{0} }", Syntax, 15, "no meaning");
}

#[test]
fn types_that_do_not_fit() {
    use QueryErrorKind::Type;
    check_error("{ duration = \"x\" }", Type, 14, "100ms");
    check_error("{ status = 3 }", Type, 12, "error, ok or unset");
    check_error("{ kind = error }", Type, 10, "server, client");
    check_error("{ name = 5 }", Type, 10, "a string");
    check_error("{ .a = server }", Type, 8, "double quotes");
    check_error("{ failed = \"true\" }", Type, 12, "true or false");
    check_error("{ status > error }", Type, 12, "= !=");
    check_error("{ .a =~ 5 }", Type, 9, "not compared with =~");
    check_error("{ .a =~ \"(\" }", Type, 9, "not valid");
    check_error("{ .a =~ \"a)(b\" }", Type, 9, "not valid");
    check_error("{ .a =~ \"(((a{100}){100}){100})\" }", Type, 9, "smaller");
    check_error("{ name = nil }", Type, 10, "every span has a name");
    check_error("{ .a > nil }", Type, 8, "= or !=");
    check_error("{ duration }", Type, 3, "stand alone");
    check_error("{ 5 }", Type, 3, "stand alone");
}

#[test]
fn traceql_that_is_not_answered_yet_is_named() {
    let check = |text: &str, position: usize, part: &str| {
        check_error(text, QueryErrorKind::Unsupported, position, part);
        check_error(text, QueryErrorKind::Unsupported, position, "does not support yet");
    };
    check("{ } | count() > 2", 5, "pipeline");
    check("{ } | rate()", 5, "pipeline");
    check("{ } >> { }", 5, ">>");
    check("{ } > { }", 5, "structural");
    check("{ } !>> { }", 5, "!>>");
    check("{ } && { }", 5, "combination");
    check("({ } >> { })", 1, "combination");
    check("{ event.name = \"x\" }", 3, "event.");
    check("{ link.traceId = \"x\" }", 3, "link.");
    check("{ parent.a = 1 }", 3, "parent.");
    check("{ event:name = \"x\" }", 3, "event:name");
    check("{ trace:duration > 1s }", 3, "trace:duration");
    check("{ nestedSetParent < 0 }", 3, "nestedSetParent");
    check("{ duration * 2 > 1s }", 12, "arithmetic");
    check("{ .a + 1 = 2 }", 6, "arithmetic");
    check("{ !(.a = 1) }", 3, "negation");
    check("{ .a = .b }", 8, "two fields");
    check("{ 1 = 1 }", 7, "two constants");
    check("{ .a = 1 = 2 }", 10, "comparison");
    check("{ (.a) = 1 }", 8, "comparison");
    check("{ } with (sample=true)", 5, "with");
}

#[test]
fn nesting_and_length_are_bounded() {
    let deep = |n: usize| format!("{{ {}.a=1{} }}", "(".repeat(n), ")".repeat(n));
    check(&deep(MAX_DEPTH), "any[a] = 1");
    assert_eq!(parse(&deep(MAX_DEPTH + 1)).unwrap_err().kind, QueryErrorKind::Limit);
    assert_eq!(parse(&deep(60_000)).unwrap_err().kind, QueryErrorKind::Limit);
    let zigzag = |n: usize| format!("{{ .a{} }}", " && .b || .c".repeat(n));
    assert!(parse(&zigzag(20)).is_ok());
    assert_eq!(parse(&zigzag(1000)).unwrap_err().kind, QueryErrorKind::Limit);
    let wide = format!("{{ .a{} }}", " && .b".repeat(10_000));
    assert!(parse(&wide).is_ok());
    let long = format!("{{ .a = \"{}\" }}", "x".repeat(MAX_QUERY_BYTES));
    assert_eq!(parse(&long).unwrap_err().kind, QueryErrorKind::Limit);
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
        "!",
        "|",
        " ",
        ".a",
        "span.",
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
        "1.5s",
        "\"x\"",
        "ä",
        "span:",
        ":",
    ];
    prop::collection::vec(prop::sample::select(words.to_vec()), 0..30).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn never_panics_on_any_text(text in any::<String>()) {
        let _ = parse(&text);
    }

    #[test]
    fn never_panics_on_near_misses(text in fragment()) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.position <= text.chars().count() + 1);
        }
    }
}
