//! Asks for traces and searches, one question after the other on one connection, and checks what
//! comes back: a fast wrong answer is worth nothing.

use std::time::{Duration, Instant};

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use spandrel_benches::corpus::{KnownTrace, OPERATIONS};

use crate::Failure;
use crate::client::Connection;
use crate::latencies::Latencies;
use crate::server::Server;

/// A kind of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A whole trace, any of those that were sent.
    TraceById,
    /// An attribute that one span of all has.
    RareAttribute,
    /// An attribute that no span has.
    AbsentAttribute,
    /// A service and one of its operations.
    ServiceAndOperation,
    /// Failed spans.
    Failed,
    /// The newest traces, whatever they are.
    Newest,
}

/// How many questions of a kind are asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) questions: u32,
    pub(crate) time: Duration,
}

/// How the questions of a kind were answered.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answers {
    pub(crate) question: &'static str,
    pub(crate) latency: Latencies,
    /// The server's CPU time for each, background work included.
    pub(crate) cpu_ms: Option<f64>,
}

/// What has to come back.
enum Expected {
    Trace(KnownTrace),
    Only(KnownTrace),
    Nothing,
    Page,
}

/// The answers, as far as they are checked.
#[derive(Deserialize)]
struct TreeAnswer {
    trace: Tree,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tree {
    id: String,
    span_count: u64,
}

#[derive(Deserialize)]
struct SearchAnswer {
    traces: Vec<Found>,
    partial: bool,
}

#[derive(Deserialize)]
struct Found {
    id: String,
}

const PAGE: usize = 20;

// === impl Kind ===

impl Kind {
    pub(crate) const ALL: [Self; 6] = [
        Self::TraceById,
        Self::RareAttribute,
        Self::AbsentAttribute,
        Self::ServiceAndOperation,
        Self::Failed,
        Self::Newest,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::TraceById => "trace by ID",
            Self::RareAttribute => "search: rare attribute",
            Self::AbsentAttribute => "search: absent attribute",
            Self::ServiceAndOperation => "search: service and operation",
            Self::Failed => "search: failed spans",
            Self::Newest => "search: newest 20",
        }
    }

    /// One question of this kind: its path, and what has to come back; `None` when no trace fits.
    fn ask(self, traces: &[KnownTrace], since: &str, rng: &mut Rng) -> Option<(String, Expected)> {
        let trace = traces[rng.usize(0..traces.len())];
        let search = |q: &str| format!("/api/v1/traces?q={}&start={since}&limit={PAGE}", escaped(q));
        let attribute =
            |value: &str| search(&format!("{{ span.{} = \"{value}\" }}", KnownTrace::ORDER_ATTRIBUTE));
        Some(match self {
            Self::TraceById => (format!("/api/v1/traces/{}", trace.id), Expected::Trace(trace)),
            Self::RareAttribute => {
                let with_order: Vec<_> = traces.iter().filter(|trace| trace.has_order).collect();
                let trace = **with_order.get(rng.usize(0..with_order.len().max(1)))?;
                (attribute(&trace.order()?), Expected::Only(trace))
            }
            // Another one each time, so that no cache knows the answer.
            Self::AbsentAttribute => (attribute(&format!("none-{}", rng.u64(..))), Expected::Nothing),
            Self::ServiceAndOperation => {
                let (service, name) = OPERATIONS[rng.usize(0..OPERATIONS.len())];
                let q = format!("{{ resource.service.name = \"{service}\" && name = \"{name}\" }}");
                (search(&q), Expected::Page)
            }
            Self::Failed => (search("{ failed }"), Expected::Page),
            Self::Newest => (search("{ }"), Expected::Page),
        })
    }
}

/// Asks questions of one kind until there were enough. `since` is where searches begin.
pub(crate) async fn ask(
    kind: Kind,
    server: &Server,
    traces: &[KnownTrace],
    since: &str,
    bounds: Bounds,
    rng: &mut Rng,
) -> Result<Answers, Failure> {
    let mut connection = server.connect().await?;
    let mut times = Vec::new();
    let (began, cpu_before) = (Instant::now(), server.cpu_time());
    while times.len() < bounds.questions as usize && (times.is_empty() || began.elapsed() < bounds.time) {
        let Some((path, expected)) = kind.ask(traces, since, rng) else { break };
        times.push(ask_once(&mut connection, &path, &expected).await?);
    }
    let cpu = server.cpu_time().zip(cpu_before).map(|(after, before)| after.saturating_sub(before));
    let cpu_ms = cpu.map(|cpu| cpu.as_secs_f64() * 1e3 / times.len().max(1) as f64);
    Ok(Answers { question: kind.name(), latency: Latencies::of(times), cpu_ms })
}

async fn ask_once(connection: &mut Connection, path: &str, expected: &Expected) -> Result<Duration, Failure> {
    let began = Instant::now();
    let answer = connection.get(path).await?;
    let took = began.elapsed();
    if !answer.status.is_success() {
        let text = String::from_utf8_lossy(&answer.body);
        return Err(format!("{path} was answered by {}: {text}", answer.status).into());
    }
    check(&answer.body, expected).map_err(|why| format!("{path} was answered wrongly: {why}"))?;
    Ok(took)
}

fn check(body: &[u8], expected: &Expected) -> Result<(), Failure> {
    if let Expected::Trace(trace) = expected {
        let tree = serde_json::from_slice::<TreeAnswer>(body)?.trace;
        if tree.id != trace.id.to_string() || tree.span_count != trace.spans {
            return Err(format!("{} spans of {}, not {}", tree.span_count, tree.id, trace.spans).into());
        }
        return Ok(());
    }
    let answer: SearchAnswer = serde_json::from_slice(body)?;
    let ids: Vec<&str> = answer.traces.iter().map(|trace| trace.id.as_str()).collect();
    let right = match expected {
        Expected::Only(trace) => ids == [trace.id.to_string()],
        Expected::Nothing => ids.is_empty(),
        Expected::Page | Expected::Trace(_) => !ids.is_empty() && ids.len() <= PAGE,
    };
    match right && !answer.partial {
        true => Ok(()),
        false => Err(format!("found {ids:?}, partial: {}", answer.partial).into()),
    }
}

/// Percent-encoded for a query.
fn escaped(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, spans: u64) -> KnownTrace {
        KnownTrace { id: id.parse().unwrap(), spans, has_order: true }
    }

    #[test]
    fn queries_are_escaped() {
        assert_eq!(escaped("{ a = \"b\" }"), "%7B%20a%20%3D%20%22b%22%20%7D");
    }

    #[test]
    fn wrong_answers_are_noticed() {
        let trace = known("abc", 3);
        let tree = |spans| format!(r#"{{"trace":{{"id":"{}","spanCount":{spans}}}}}"#, trace.id);
        assert!(check(tree(3).as_bytes(), &Expected::Trace(trace)).is_ok());
        assert!(check(tree(2).as_bytes(), &Expected::Trace(trace)).is_err());

        let found = |partial| format!(r#"{{"traces":[{{"id":"{}"}}],"partial":{partial}}}"#, trace.id);
        assert!(check(found(false).as_bytes(), &Expected::Only(trace)).is_ok());
        assert!(check(found(false).as_bytes(), &Expected::Only(known("def", 3))).is_err());
        assert!(check(found(true).as_bytes(), &Expected::Only(trace)).is_err());
        assert!(check(found(false).as_bytes(), &Expected::Nothing).is_err());
        assert!(check(br#"{"traces":[],"partial":false}"#, &Expected::Page).is_err());
    }
}
