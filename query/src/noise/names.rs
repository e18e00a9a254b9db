//! Names: those of probes, and the shape that names with IDs in them have in common.

use spandrel_proto::otlp::{AnyValue, SpanView};

/// What makes a span one of a probe.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Probe {
    pub(super) what: What,
    /// The attribute that says so, and its value; `None` where the name does.
    pub(super) by: Option<(String, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum What {
    HealthCheck,
    Scrape,
    Ping,
}

/// Segments of paths of probes.
const HEALTH: [&str; 17] = [
    "health",
    "healthz",
    "healthcheck",
    "health-check",
    "health_check",
    "_health",
    "ready",
    "readyz",
    "readiness",
    "live",
    "livez",
    "liveness",
    "liveliness",
    "heartbeat",
    "alive",
    "up",
    "startupz",
];
const SCRAPES: [&str; 3] = ["metrics", "prometheus", "stats-prometheus"];
/// Names of commands that ask a server whether it is there.
const PINGS: [&str; 6] = ["ping", "redis ping", "redis.ping", "mongodb.ping", "select 1", "echo"];
/// Attributes with the path or call of a span.
const PATHS: [&str; 7] =
    ["http.route", "url.path", "http.target", "rpc.service", "url.full", "http.url", "grpc.method"];
const STATEMENTS: [&str; 4] = ["db.query.text", "db.statement", "db.operation.name", "db.operation"];

/// What a span is a probe of, if it is one.
pub(super) fn probe(span: &SpanView<'_>) -> Option<Probe> {
    if let Some(what) = of_name(span.name) {
        return Some(Probe { what, by: None });
    }
    for attribute in span.attributes().flatten() {
        let Some(AnyValue::String(value)) = attribute.value else { continue };
        let what = if PATHS.contains(&attribute.key) {
            of_path(value)
        } else if STATEMENTS.contains(&attribute.key) {
            is_ping(value).then_some(What::Ping)
        } else {
            None
        };
        if let Some(what) = what {
            return Some(Probe { what, by: Some((attribute.key.to_owned(), value.to_owned())) });
        }
    }
    None
}

fn of_name(name: &str) -> Option<What> {
    if is_ping(name) {
        return Some(What::Ping);
    }
    // `GET /healthz`, `/healthz`, `grpc.health.v1.Health/Check`, `http get /actuator/health`.
    let path = name.split(' ').next_back().unwrap_or_default();
    let is_path = path.contains('/') || path.contains("grpc.health");
    is_path.then(|| of_path(path)).flatten()
}

fn is_ping(text: &str) -> bool {
    let text = text.trim_end_matches(';');
    PINGS.iter().any(|ping| text.eq_ignore_ascii_case(ping))
}

fn of_path(text: &str) -> Option<What> {
    if text.contains("grpc.health.v1.Health") {
        return Some(What::HealthCheck);
    }
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let path =
        path.split_once("://").map_or(path, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    // The last segments alone: `/health/records/17` is about records.
    let mut last = path.trim_end_matches('/').rsplit('/');
    let is_one_of = |segment: Option<&str>, words: &[&str]| {
        segment.is_some_and(|segment| words.iter().any(|word| segment.eq_ignore_ascii_case(word)))
    };
    let (end, before) = (last.next(), last.next());
    if is_one_of(end, &HEALTH)
        || is_one_of(before, &HEALTH) && is_one_of(end, &["check", "status", "db", "ping"])
    {
        Some(What::HealthCheck)
    } else if is_one_of(end, &SCRAPES) {
        Some(What::Scrape)
    } else if is_one_of(end, &["ping"]) {
        Some(What::Ping)
    } else {
        None
    }
}

// === Shapes ===

/// A name with `*` for each number and hexadecimal ID that stands alone, as `fold-name` finds them.
pub(super) fn shape(name: &str) -> String {
    let mut shape = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let (before, word) = rest.split_at(at);
        shape.push_str(before);
        let end = word.find(|c: char| !c.is_alphanumeric()).unwrap_or(word.len());
        let (word, behind) = word.split_at(end);
        let glued = shape.chars().next_back().is_some_and(char::is_alphanumeric);
        let is_id = !glued && is_id(word, shape.chars().next_back(), behind.chars().next());
        shape.push_str(if is_id { "*" } else { word });
        rest = behind;
    }
    shape.push_str(rest);
    // A UUID has groups between which lines stand.
    while shape.contains("*-*") {
        shape = shape.replace("*-*", "*");
    }
    shape
}

fn is_id(word: &str, before: Option<char>, after: Option<char>) -> bool {
    if word.bytes().all(|byte| byte.is_ascii_digit()) {
        let fewest = match (before, after) {
            (Some('.'), _) | (_, Some('.')) => usize::MAX,
            (Some('/' | '=' | ':' | '(' | '[' | '#' | ','), _) => 1,
            (Some('-' | '_'), _) | (_, Some('-' | '_')) => 3,
            _ => 4,
        };
        return word.len() >= fewest;
    }
    let has_digit = word.bytes().any(|byte| byte.is_ascii_digit());
    has_digit && word.len() >= 4 && word.bytes().all(|byte| byte.is_ascii_hexdigit()) && {
        word.len() >= 8 || before == Some('-') || after == Some('-')
    }
}
