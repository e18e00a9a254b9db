//! What all questions in TraceQL share: parsing, limits, the end of a question whose client has left, and values in
//! answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Map, Value};
use spandrel_engine::{Budget, Partial, QueryError, Scalar};
use spandrel_storage::TraceStore;
use spandrel_storage::plan::Predicate;
use spandrel_traceql::ast::{
    Body, Field, FieldExpr, Kind, Literal, Metrics, Pipeline, Query, SpanSetExpr, Stage, Status,
};

use crate::answers::Word;
use crate::params::Params;
use crate::problem::Problem;
use crate::state::QueryState;

/// Exemplars of each series of a query that asks for some by a hint, as in Tempo.
const HINTED_EXEMPLARS: usize = 100;

/// Parses a query parameter.
fn parse(params: &Params, name: &str) -> Result<Query, Problem> {
    parse_text(params.text(name).unwrap_or_default()).map_err(|error| Problem::parameter(name, error))
}

fn parse_text(text: &str) -> Result<Query, spandrel_traceql::ParseError> {
    spandrel_traceql::parse(text)
}

/// A query for traces.
pub(crate) fn pipeline(params: &Params, name: &str) -> Result<Pipeline, Problem> {
    match parse(params, name)?.body {
        Body::Traces(pipeline) => Ok(pipeline),
        Body::Metrics(_) => Err(Problem::parameter(
            name,
            "this query makes series over time, not traces: ask for it at /api/v1/metrics, or leave out its last stages",
        )),
    }
}

/// A query for series, and the exemplars that its hints ask for.
pub(crate) fn series(params: &Params, name: &str) -> Result<(Metrics, Option<usize>), Problem> {
    let query = parse(params, name)?;
    let exemplars =
        query.hints.iter().find(|hint| hint.name == "exemplars").and_then(|hint| match hint.value {
            Literal::Bool(wanted) => Some(if wanted { HINTED_EXEMPLARS } else { 0 }),
            Literal::Int(count) => usize::try_from(count).ok(),
            _ => None,
        });
    match query.body {
        Body::Metrics(metrics) => Ok((metrics, exemplars)),
        Body::Traces(_) => Err(Problem::parameter(
            name,
            "this query finds traces and has no metrics stage: add one, as in `{ } | rate()`, or ask at /api/v1/traces",
        )),
    }
}

/// A condition on single spans: a query that is one filter.
pub(crate) fn condition(params: &Params, name: &str) -> Result<FieldExpr, Problem> {
    match &pipeline(params, name)?.stages[..] {
        [Stage::Spans(SpanSetExpr::Filter(condition))] => Ok(condition.clone()),
        _ => Err(Problem::parameter(
            name,
            "here stands one filter like `{ failed }`, without stages behind it",
        )),
    }
}

/// A condition that the store decides for each span alone, without the rest of its trace.
pub(crate) fn predicate(text: &str) -> Result<Predicate, String> {
    let query = parse_text(text).map_err(|error| error.to_string())?;
    let Body::Traces(pipeline) = query.body else {
        return Err("here stands one filter like `{ failed }`, not a query for series".to_owned());
    };
    spandrel_engine::exact_predicate(&pipeline).ok_or_else(|| {
        "here stands one filter whose conditions compare a field of a span or its resource with a constant, joined by \
         && and ||; pipelines, structure and arithmetic are for searches"
            .to_owned()
    })
}

/// A field as TraceQL writes it; a plain name is an attribute of any scope.
pub(crate) fn field(name: &str) -> Result<Field, Problem> {
    let selected = |text: &str| match parse_text(&format!("{{ }} | select({text})"))?.body {
        Body::Traces(Pipeline { stages }) => Ok(match &stages[..] {
            [_, Stage::Select(fields)] if fields.len() == 1 => fields.first().cloned(),
            _ => None,
        }),
        Body::Metrics(_) => Ok::<_, spandrel_traceql::ParseError>(None),
    };
    let quoted = format!(".\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\""));
    let found = selected(name).or_else(|_| selected(&format!(".{name}"))).or_else(|_| selected(&quoted));
    let found = found.map_err(|error| Problem::parameter("name", error))?;
    found.ok_or_else(|| Problem::parameter("name", "here stands one field, like span.http.route or name"))
}

/// Ends its question when it is dropped, as the handler of a client that has left is.
pub(crate) struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a question on a blocking thread until it is answered, its limits are met, or its client has left.
pub(crate) async fn run<T: Send + 'static>(
    state: &QueryState,
    question: impl FnOnce(&dyn TraceStore, &Budget) -> Result<T, QueryError> + Send + 'static,
) -> Result<T, Problem> {
    let cancelled = Arc::new(AtomicBool::new(false));
    let running = Running(cancelled.clone());
    let limits = state.config().question.clone();
    let answer = state.run_query(move |store| Ok(question(store, &Budget::new(limits, cancelled))?)).await;
    drop(running);
    answer
}

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        match error {
            QueryError::Unsupported(detail) => Self::parameter("q", detail),
            QueryError::Read(error) => error.into(),
        }
    }
}

/// Why an answer is partial, as a word, with the name of the limit.
pub(crate) fn reason(partial: Option<Partial>) -> Option<Word> {
    partial.map(|partial| {
        match partial {
            Partial::Store => "damaged blocks, or more traces than maxCandidates",
            Partial::Time => "maxQuestionTime",
            Partial::Memory => "maxQuestionBytes",
            Partial::Series => "maxMetricsSeries",
            Partial::Cancelled => "the client has left",
        }
        .into()
    })
}

/// A value as JSON: whole numbers beyond 2^53 as strings, as everywhere in this API.
pub(crate) fn value(scalar: &Scalar<'_>) -> Value {
    const EXACT: u64 = 1 << 53;
    match scalar {
        Scalar::Nil | Scalar::Opaque | Scalar::Array(_) => Value::Null,
        Scalar::Bool(flag) => (*flag).into(),
        Scalar::Int(int) if int.unsigned_abs() > EXACT => int.to_string().into(),
        Scalar::Int(int) => (*int).into(),
        Scalar::Float(float) => number(*float),
        Scalar::Text(text) => text.as_ref().into(),
        Scalar::Status(status) => status_word(*status).into(),
        Scalar::Kind(kind) => kind_word(*kind).into(),
    }
}

/// A number as JSON; a whole one without a fraction.
fn number(float: f64) -> Value {
    if float.fract() == 0.0 && float.abs() < (1u64 << 53) as f64 {
        (float as i64).into()
    } else {
        float.into()
    }
}

/// Named values as an object.
pub(crate) fn object(values: &[(String, Scalar<'_>)]) -> Map<String, Value> {
    values.iter().map(|(name, scalar)| (name.clone(), value(scalar))).collect()
}

/// The type of a value, as a word.
pub(crate) fn type_word(scalar: &Scalar<'_>) -> Word {
    match scalar {
        Scalar::Nil | Scalar::Opaque => "none",
        Scalar::Bool(_) => "bool",
        Scalar::Int(_) => "int",
        Scalar::Float(_) => "double",
        Scalar::Text(_) => "string",
        Scalar::Status(_) | Scalar::Kind(_) => "keyword",
        Scalar::Array(_) => "array",
    }
    .into()
}

fn status_word(status: Status) -> &'static str {
    match status {
        Status::Unset => "unset",
        Status::Ok => "ok",
        Status::Error => "error",
    }
}

fn kind_word(kind: Kind) -> &'static str {
    match kind {
        Kind::Unspecified => "unspecified",
        Kind::Internal => "internal",
        Kind::Server => "server",
        Kind::Client => "client",
        Kind::Producer => "producer",
        Kind::Consumer => "consumer",
    }
}
