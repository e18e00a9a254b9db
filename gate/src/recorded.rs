//! Runs a request so that the audit log has it: a question when it is answered, a change before and after it is made.
//!
//! The line is durable before the answer leaves. Of a question only an answer without a line could leak; a change could
//! be made and never be written down, so the line that it begins comes first.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use spandrel_proto::{AnsweredTraces, Tenants};

use crate::audit::{AuditLog, Event, Phase, Record};
use crate::identity::Identity;
use crate::keys::ForeignChange;
use crate::refusal::{MAX_RECORDED_BODY, Refusal};
use crate::users::{Changed, User};

/// Who sent a request, as far as it is known.
pub(crate) struct Sender {
    pub(crate) identity: Option<Arc<Identity>>,
    /// The tenants of the request, where the server keeps them apart.
    pub(crate) tenants: Option<Tenants>,
    pub(crate) address: Option<IpAddr>,
}

/// What was changed, where the request does not say it: a handler puts it into the extensions of its response.
#[derive(Debug, Clone)]
pub(crate) struct Subject(pub(crate) String);

/// The most bytes of a refused request's target that a line keeps: clients without a credential choose them.
const MAX_REFUSED_TARGET: usize = 512;

/// Runs a request of a kind that leaves a line.
pub(crate) async fn run(
    log: &AuditLog,
    event: Event,
    sender: Sender,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let mut record = Record { target: Some(target(&parts)), ..sender.record(event, &parts) };
    if matches!(event, Event::Question | Event::Export) {
        let response = next.run(Request::from_parts(parts, body)).await;
        record.status = Some(response.status().as_u16());
        record.traces = response.extensions().get::<AnsweredTraces>().map(|AnsweredTraces(traces)| *traces);
        write(log, record).await?;
        return Ok(response);
    }
    let body = match event {
        Event::Deletion | Event::Keys | Event::Rules => {
            let bytes = to_bytes(body, MAX_RECORDED_BODY).await.map_err(|_| Refusal::Body)?;
            record.body = (!bytes.is_empty()).then(|| String::from_utf8_lossy(&bytes).into_owned());
            Body::from(bytes)
        }
        _ => body,
    };
    record.phase = Some(Phase::Begin);
    write(log, record.clone()).await?;
    let response = next.run(Request::from_parts(parts, body)).await;
    record.phase = Some(Phase::End);
    record.status = Some(response.status().as_u16());
    record.subject = response.extensions().get::<Subject>().map(|Subject(subject)| subject.clone());
    // It is done, so the answer says so; the line that began it is there.
    let _ = log.write(record).await;
    Ok(response)
}

async fn write(log: &AuditLog, record: Record) -> Result<(), Refusal> {
    match log.write(record).await {
        Err(_) if log.is_required() => Err(Refusal::Unrecorded),
        _ => Ok(()),
    }
}

/// The line of a login that succeeded.
pub(crate) async fn login(log: &AuditLog, sender: &Sender, parts: &Parts) -> Result<(), Refusal> {
    write(log, Record { status: Some(200), ..sender.record(Event::Login, parts) }).await
}

/// The line of a request that did not pass.
pub(crate) fn refusal(sender: &Sender, parts: &Parts, refusal: &Refusal) -> Record {
    let mut target = target(parts);
    if target.len() > MAX_REFUSED_TARGET {
        target.truncate(target.floor_char_boundary(MAX_REFUSED_TARGET));
        target.push('…');
    }
    let mut record = sender.record(Event::Refusal, parts).because(refusal.mapping().reason);
    record.status = Some(refusal.mapping().http.as_u16());
    record.target = Some(target);
    record
}

/// The line of a change to the keys that another process has made.
pub(crate) fn foreign_change(change: &ForeignChange) -> Record {
    let (key, what) = match change {
        ForeignChange::Created(key) => (key, "created"),
        ForeignChange::Revoked(key) => (key, "revoked"),
    };
    Record::new(Event::Keys).about(&key.id, &key.role).because(format!("{what} on the data directory"))
}

/// The line of a change to the users, which commands alone make.
pub(crate) fn user_change(user: &User, changed: Changed) -> Record {
    let what = match changed {
        Changed::Put => "added or changed",
        Changed::Removed => "removed",
    };
    Record::new(Event::Users).about(&user.name, &user.role).because(format!("{what} on the data directory"))
}

/// Path and query, as they were sent.
pub(crate) fn target(parts: &Parts) -> String {
    parts.uri.path_and_query().map_or("", |target| target.as_str()).to_owned()
}

// === impl Sender ===

impl Sender {
    fn record(&self, event: Event, parts: &Parts) -> Record {
        let mut record = match &self.identity {
            Some(identity) => Record::new(event).by(identity),
            None => Record::new(event),
        };
        if let Some(tenants) = &self.tenants {
            record.tenant = Some(tenants.to_string());
        }
        Record { address: self.address, method: Some(parts.method.to_string()), ..record }
    }
}
