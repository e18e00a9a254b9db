//! `GET /api/v1/traces/live`: traces that match, as server-sent events while their spans arrive.
//!
//! One thread at a time looks at what is new for a client, and only once the client has taken what was found before: a
//! slow client gets fewer and larger rounds, and never makes the server keep more than one of them.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Uri;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use parking_lot::Mutex;
use spandrel_engine::live::{self, Live, Round};
use spandrel_proto::TenantId;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::SendError;
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use super::handler::Asked;
use crate::answers::{FoundSpan, LiveNotice, LiveTrace};
use crate::params::Params;
use crate::problem::Problem;
use crate::question;
use crate::state::QueryState;

const PARAMETERS: [&str; 1] = ["q"];

/// The time from one look at the store to the next.
const ROUND: Duration = Duration::from_millis(250);
/// Events that wait for a client.
const WAITING: usize = 64;

pub(super) async fn get(Asked { state, tenant, .. }: Asked, uri: Uri) -> Result<Response, Problem> {
    let params = Params::parse(&uri, &PARAMETERS)?;
    let query = question::pipeline(&params, "q")?;
    let owner = tenant.clone();
    let live = state.run_query(move |store| Ok(Live::begin(store, &owner, &query)?)).await?;
    let (events, waiting) = mpsc::channel::<Result<Event, Infallible>>(WAITING);
    tokio::spawn(follow(state, tenant, live, events));
    let stream = Sse::new(ReceiverStream::new(waiting)).keep_alive(KeepAlive::default());
    Ok(stream.into_response())
}

type Events = mpsc::Sender<Result<Event, Infallible>>;

/// Sends what arrives until the client leaves or the store cannot be read.
async fn follow(state: QueryState, tenant: TenantId, live: Live, events: Events) {
    let live = Arc::new(Mutex::new(live));
    loop {
        let mut next = Instant::now() + ROUND;
        let round = tokio::select! {
            round = round(&state, tenant.clone(), live.clone()) => round,
            // The round is dropped, and its work ends.
            () = events.closed() => return,
        };
        match round {
            Ok(round) => {
                if send(&events, &round).await.is_err() {
                    return;
                }
            }
            Err(problem) => match problem.retry_after() {
                // As many queries run as may run at once, or a quota is reached. The next round finds what this one
                // would have found.
                Some(pause) => next = next.max(Instant::now() + pause),
                None => {
                    let notice = LiveNotice { detail: problem.detail().to_owned() };
                    let _ = events.send(Ok(event("problem", &notice))).await;
                    return;
                }
            },
        }
        tokio::select! {
            () = sleep_until(next) => {}
            () = events.closed() => return,
        }
    }
}

/// One look at the store.
async fn round(state: &QueryState, tenant: TenantId, live: Arc<Mutex<Live>>) -> Result<Round, Problem> {
    question::run(state, move |store, budget| live.lock().next(store, &tenant, budget)).await
}

/// Sends the traces of a round. An error means that the client has left.
async fn send(events: &Events, round: &Round) -> Result<(), SendError<Result<Event, Infallible>>> {
    for trace in &round.traces {
        events.send(Ok(event("trace", &LiveTrace::from(trace)))).await?;
    }
    let skipped = match (round.left_out, round.is_partial) {
        (0, false) => return Ok(()),
        (0, true) => "not everything that arrived could be looked at; narrow the query".to_owned(),
        (left_out, _) => {
            format!("{left_out} more traces matched in this moment; narrow the query to see them all")
        }
    };
    events.send(Ok(event("skipped", &LiveNotice { detail: skipped }))).await
}

fn event(name: &str, data: &impl serde::Serialize) -> Event {
    Event::default().event(name).json_data(data).unwrap_or_default()
}

impl From<&live::LiveTrace> for LiveTrace {
    fn from(trace: &live::LiveTrace) -> Self {
        Self {
            id: trace.id.to_string(),
            root_service: trace.root_service.clone(),
            root_name: trace.root_name.clone(),
            start_unix_nano: trace.start.to_string(),
            duration_nano: trace.duration,
            span_count: trace.span_count,
            error_count: trace.error_count,
            matched_span_count: trace.matched_span_count,
            spans: trace.spans.iter().map(FoundSpan::from).collect(),
        }
    }
}
