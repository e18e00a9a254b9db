//! What is offered in half a query.
#![allow(clippy::expect_used, clippy::panic, reason = "a test may stop at the first surprise")]

use spandrel_traceql::ast::Scope;
use spandrel_traceql::{Completion, SuggestionKind, complete, parse};

/// Completes at the `^` of a text.
fn at(marked: &str) -> Completion {
    let cursor = marked.find('^').expect("a cursor");
    complete(&marked.replacen('^', "", 1), cursor)
}

fn words(completion: &Completion) -> Vec<&str> {
    completion.words.iter().map(|word| word.text.as_str()).collect()
}

/// All of these are offered, and none of the others.
fn check(marked: &str, offered: &[&str], not: &[&str]) {
    let completion = at(marked);
    let found = words(&completion);
    for word in offered {
        assert!(found.contains(word), "{marked}: {word} is not in {found:?}");
    }
    for word in not {
        assert!(!found.contains(word), "{marked}: {word} is in {found:?}");
    }
}

/// Names of attributes may stand there, of this scope and with this beginning.
fn check_names(marked: &str, of_parent: bool, scope: Option<Scope>, prefix: &str) {
    let names = at(marked).names.unwrap_or_else(|| panic!("{marked}: no names"));
    assert_eq!((names.of_parent, names.scope, names.prefix.as_str()), (of_parent, scope, prefix), "{marked}");
}

/// Values of this field may stand there, with this beginning.
fn check_values(marked: &str, field: &str, prefix: &str) {
    let values = at(marked).values_of.unwrap_or_else(|| panic!("{marked}: no values"));
    assert_eq!((values.field.to_string().as_str(), values.prefix.as_str()), (field, prefix), "{marked}");
}

#[test]
fn a_query_begins() {
    check("^", &["{", "(", "count", "by", "select", "none", "all"], &["}", "rate", "topk", "duration", "|"]);
    check("  ^", &["{"], &[]);
    check("no^", &["none"], &["count", "{"]);
    check("(^", &["{", "(", "count"], &[")"]);
}

#[test]
fn a_condition_begins() {
    check(
        "{ ^",
        &["duration", "name", "failed", "span.", "resource.", "parent.", "(", "!"],
        &["span:duration", "&&"],
    );
    check_names("{ ^", false, None, "");
    check("{ du^", &["duration"], &["name", "span."]);
    check_names("{ du^", false, None, "du");
    check("{ span:^", &["span:id", "span:duration", "span:childCount"], &["duration", "event:name", "span."]);
    assert_eq!(at("{ span:du^").names, None);
    check("{ sp^", &["span.", "span:id"], &["resource."]);
    check("{ .a = 1 && ^", &["duration", "span."], &["}", "="]);
    check_names("{ .a = 1 && ^", false, None, "");
    check_names("{ .a = 1 && (!^", false, None, "");
}

#[test]
fn a_name_is_typed() {
    check_names("{ resource.ser^", false, Some(Scope::Resource), "ser");
    check_names("{ resource.^", false, Some(Scope::Resource), "");
    check_names("{ .^", false, Some(Scope::Any), "");
    check_names("{ .http.st^", false, Some(Scope::Any), "http.st");
    check_names("{ span.\"a b^", false, Some(Scope::Span), "a b");
    check_names("{ event.exc^ && .b }", false, Some(Scope::Event), "exc");
    check_names("{ parent.^", true, Some(Scope::Any), "");
    check_names("{ parent.span.x^", true, Some(Scope::Span), "x");
    check(
        "{ parent.^",
        &["parent.duration", "parent.span:id", "parent.span.", "parent.resource."],
        &["duration"],
    );
    check("{ parent.na^", &["parent.name"], &["parent.kind"]);
    assert_eq!(at("{ .a && resource.ser^ }").replace, 8..20);
}

#[test]
fn an_operator_is_next() {
    check("{ duration ^", &["=", ">", "<=", "+", "*"], &["=~", "contains", "&&", "}", "|"]);
    check("{ name ^", &["=", "=~", "contains", "startsWith", "<"], &["+", "&&"]);
    check("{ status ^", &["=", "!="], &["<", "=~", "+"]);
    check("{ .a ^", &["=", "=~", "contains", "+", "&&", "}"], &["|", "duration"]);
    check("{ .a = 1 ^", &["&&", "||", "}", "+"], &["="]);
    check("{ name con^", &["contains"], &["startsWith", "="]);
    check("{ .a !^", &["!=", "!~"], &["="]);
    check("{ .a = 1 &^", &["&&"], &["||"]);
    check("{ (.a = 1 ^", &["&&", ")"], &["}"]);
}

#[test]
fn a_value_is_typed() {
    check("{ status = ^", &["error", "ok", "unset"], &["server", "true", "nil"]);
    check("{ status = er^", &["error"], &["ok"]);
    check("{ kind != ^", &["server", "client"], &["error"]);
    check("{ failed = ^", &["true", "false"], &["error"]);
    check("{ .a = ^", &["true", "false", "nil"], &["error"]);
    check("{ parent = ^", &["nil"], &["true"]);
    check_values("{ span.http.method = ^", "span.http.method", "");
    check_values("{ span.http.method = \"GE^", "span.http.method", "GE");
    check_values("{ name = \"GE^", "name", "GE");
    check_values("{ name =~ `GE^", "name", "GE");
    check_values("{ name contains \"GE^", "name", "GE");
    check_values("{ .a = 1 && .b >= 4^", ".b", "4");
    check_values("{ parent.name = \"^", "parent.name", "");
    check_values("{ status = ^", "status", "");
    assert_eq!(at("{ name = \"GE^").replace, 9..12);
    assert_eq!(words(&at("{ name = \"GE^")), Vec::<&str>::new());
    assert!(at("{ .a = 1 && ^").values_of.is_none());
}

#[test]
fn values_come_before_fields() {
    let completion = at("{ status = ^");
    assert_eq!(completion.words[0].kind, SuggestionKind::Constant);
}

#[test]
fn a_stage_is_next() {
    let stages = [
        "by",
        "select",
        "coalesce",
        "count",
        "avg",
        "quantile",
        "rate",
        "quantile_over_time",
        "compare",
        "{",
    ];
    check("{ .a = 1 } | ^", &stages, &["topk", "duration"]);
    check("{ .a = 1 } ^", &["|", "&&", ">>", "!~", "with"], &["topk", "}", "="]);
    check("{ } | cou^", &["count", "count_over_time", "count_distinct"], &["rate"]);
    check("{ } | by(^", &["duration", "span."], &["rate"]);
    check_names("{ } | by(resource.^", false, Some(Scope::Resource), "");
    check("{ } | select(^", &["duration", "span."], &["rate"]);
    check_names("{ } | select(name, ^", false, None, "");
    check("{ } | select(name^", &["name"], &[","]);
    check("{ } | select(name ^", &[",", ")"], &["name"]);
    check("{ } | avg(^", &["duration"], &[]);
    check("{ } | avg(duration) ^", &[">", "=", "+"], &["&&", "|"]);
    check("{ } | count() > 2 ^", &["|", "with"], &["&&"]);
    check("none(^", &["{"], &[]);
}

#[test]
fn series_go_on() {
    check("{ } | rate() ^", &["by", "|", ">", "with"], &["&&", "+"]);
    check("{ } | rate() by (^", &["name", "resource."], &["rate"]);
    check_names("{ } | rate() by (^", false, None, "");
    check_names("{ } | quantile_over_time(^", false, None, "");
    check("{ } | quantile_over_time(duration^", &["duration"], &[]);
    check("{ } | rate() | ^", &["topk", "bottomk", "top", "bottom"], &["rate", "{", "by"]);
    check("{ } | rate() by(name) | to^", &["topk", "top"], &["bottom"]);
    check("{ } | compare(^", &["{"], &["duration"]);
    check("({ } | rate()) ^", &["+", "/", ">", "|"], &["&&", "%"]);
    check("{ } | rate() with(^", &["exemplars"], &[]);
}

#[test]
fn only_the_text_before_the_cursor_counts() {
    check("{ status = ^ } | rate() by(name)", &["error"], &[]);
    check_names("{ resource.ser^vice } this ( is wrong", false, Some(Scope::Resource), "ser");
    assert_eq!(at("{ resource.ser^vice }").replace, 2..14);
    check("^ } }", &["{"], &[]);
}

#[test]
fn nothing_is_offered_behind_a_mistake() {
    for marked in ["{ 'x' && ^", "{ } } ^", "{ name = name name ^", "{ /* a comment^", "{ name = \"x\\q\" ^"]
    {
        let completion = at(marked);
        assert_eq!(
            (completion.words.len(), completion.names, completion.values_of),
            (0, None, None),
            "{marked}"
        );
    }
}

#[test]
fn any_place_of_any_query_is_handled() {
    for text in include_str!("corpus/valid.txt").lines() {
        for cursor in 0..=text.len() + 1 {
            let completion = complete(text, cursor);
            assert!(completion.replace.end <= text.len(), "{text} at {cursor}");
        }
    }
}

/// Whoever takes only what is offered ends with a query.
#[test]
fn what_is_offered_is_taken() {
    for text in
        ["{ ", "{ .a ", "{ .a = 1 ", "{ } | ", "{ } | rate() ", "{ } ", "", "{ status = ", "{ } | select("]
    {
        for word in complete(text, text.len()).words {
            let taken = format!("{text}{}", word.text);
            let error = parse(&taken).err();
            let is_half = error.as_ref().is_none_or(|error| error.column > taken.chars().count());
            assert!(is_half, "{taken}: {error:?}");
        }
    }
}
