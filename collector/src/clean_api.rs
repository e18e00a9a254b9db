//! The rules that clean spans, by HTTP: what is in force and what it has done, and other rules without a restart.
//! `collector/openapi.json` describes the routes; who may use them is decided before.
//!
//! New rules are durable before they are in force, and in force before the answer.

use std::sync::Arc;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use spandrel_clean::{Cleaner, HashKey, MAX_TEXT_BYTES, Origin, RuleError, RuleReport};
use spandrel_proto::Caller;

/// Finds the key of a hash by its name in a rule.
pub type FindHashKey = dyn Fn(Option<&str>) -> Result<HashKey, String> + Send + Sync;

/// Where rules that are given by the API survive a restart.
pub trait RuleFile: Send + Sync {
    /// Keeps the text of rules; `None` forgets what was kept. Returns when that is durable.
    fn save(&self, rules: Option<&str>) -> Result<(), String>;
}

/// `GET`, `PUT` and `DELETE /api/v1/clean/rules`: the rules in force.
#[derive(Debug, Serialize, Deserialize)]
pub struct CleanRulesAnswer {
    /// `configuration`, or `api`.
    pub origin: String,
    /// As they were written, in their order.
    pub rules: Vec<Value>,
    /// What each has done, in the same order.
    pub done: Vec<RuleDone>,
}

/// What a rule has done since the server started.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleDone {
    /// The name of the rule.
    pub name: String,
    /// Spans that satisfied its condition.
    pub matched_spans: u64,
    /// Of these, the ones that it dropped.
    pub dropped_spans: u64,
    /// Their bytes.
    pub dropped_bytes: u64,
    /// Spans that it changed, or whose resource or scope it changed.
    pub changed_spans: u64,
}

/// What the routes need.
pub struct CleanApi {
    cleaner: Arc<Cleaner>,
    find_key: Box<FindHashKey>,
    file: Box<dyn RuleFile>,
    /// One change at a time, so that file and memory have the same rules.
    changing: Mutex<()>,
}

type Shared = Arc<CleanApi>;

/// The OpenAPI document of these routes: paths to be added to those of the server.
pub const OPENAPI: &str = include_str!("../openapi.json");

/// Why a request is refused.
enum Refused {
    Parameters,
    NotText,
    Mistake(RuleError),
    /// The rules are those of the whole server.
    OfServer,
    TooLong,
    NotSaved,
}

// === impl CleanApi ===

impl CleanApi {
    /// Routes for the rules of a cleaner.
    pub fn new(cleaner: Arc<Cleaner>, find_key: Box<FindHashKey>, file: Box<dyn RuleFile>) -> Self {
        Self { cleaner, find_key, file, changing: Mutex::new(()) }
    }

    /// The routes, for the HTTP port.
    pub fn router(self) -> Router {
        let rules = get(show).put(replace).delete(forget);
        Router::new().route("/api/v1/clean/rules", rules).with_state(Arc::new(self))
    }

    fn answer(&self) -> Response {
        let (rules, origin) = self.cleaner.in_force();
        let origin = match origin {
            Origin::Configuration => "configuration",
            Origin::Api => "api",
        };
        let answer = CleanRulesAnswer {
            origin: origin.to_owned(),
            rules: rules.written().to_vec(),
            done: rules.reports().map(RuleDone::from).collect(),
        };
        let body = json!(answer).to_string();
        ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], body).into_response()
    }

    /// Keeps other rules and puts them in force; `None` returns to those of the configuration.
    fn change(&self, text: Option<&str>) -> Result<(), Refused> {
        let rules = text.map(|text| self.cleaner.parse(text, &*self.find_key)).transpose();
        let rules = rules.map_err(Refused::Mistake)?;
        let _alone = self.changing.lock();
        self.file.save(text).map_err(|error| {
            tracing::error!(%error, "rules of the API are not kept, so the ones before stay in force");
            Refused::NotSaved
        })?;
        match &rules {
            Some(rules) => {
                tracing::info!(rules = rules.written().len(), "spans are cleaned by rules of the API")
            }
            None => tracing::info!("spans are cleaned by the rules of the configuration again"),
        }
        self.cleaner.give(rules);
        Ok(())
    }
}

async fn show(State(api): State<Shared>, request: Request) -> Result<Response, Refused> {
    check(&request)?;
    Ok(api.answer())
}

async fn replace(State(api): State<Shared>, request: Request) -> Result<Response, Refused> {
    check(&request)?;
    let bytes = to_bytes(request.into_body(), MAX_TEXT_BYTES).await.map_err(|_| Refused::TooLong)?;
    let text = String::from_utf8(bytes.into()).map_err(|_| Refused::NotText)?;
    // No body is more likely a mistake than a wish to have no rules.
    if text.trim().is_empty() {
        return Err(Refused::NotText);
    }
    change(api, Some(text)).await
}

async fn forget(State(api): State<Shared>, request: Request) -> Result<Response, Refused> {
    check(&request)?;
    change(api, None).await
}

/// Runs on a thread that may wait: patterns are compiled, and a file is synced.
async fn change(api: Shared, text: Option<String>) -> Result<Response, Refused> {
    let work = move || api.change(text.as_deref()).map(|()| api.answer());
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refused::NotSaved))
}

fn check(request: &Request) -> Result<(), Refused> {
    // A request without a caller is of a server that asks nobody.
    if request.extensions().get::<Caller>().is_some_and(|caller| !caller.sees_server) {
        return Err(Refused::OfServer);
    }
    match request.uri().query() {
        None | Some("") => Ok(()),
        Some(_) => Err(Refused::Parameters),
    }
}

// === impl RuleDone ===

impl From<RuleReport<'_>> for RuleDone {
    fn from(RuleReport { name, done, .. }: RuleReport<'_>) -> Self {
        Self {
            name: name.to_owned(),
            matched_spans: done.matched,
            dropped_spans: done.dropped,
            dropped_bytes: done.dropped_bytes,
            changed_spans: done.changed,
        }
    }
}

// === impl Refused ===

impl Refused {
    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Self::Parameters | Self::NotText | Self::Mistake(_) => (StatusCode::BAD_REQUEST, "Bad Request"),
            Self::OfServer => (StatusCode::FORBIDDEN, "Forbidden"),
            Self::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "Payload Too Large"),
            Self::NotSaved => (StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Parameters => "this takes no parameters".to_owned(),
            Self::NotText => "the body is a list of rules in YAML or JSON, in UTF-8; [] for none".to_owned(),
            Self::Mistake(error) => error.to_string(),
            Self::OfServer => {
                "the rules are those of the whole server; ask with a credential of the tenant *".to_owned()
            }
            Self::TooLong => {
                format!("rules have at most {MAX_TEXT_BYTES} bytes of text, or the body broke off")
            }
            Self::NotSaved => {
                "the rules cannot be kept, so those before stay in force; the log of the server says why"
                    .to_owned()
            }
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, title) = self.status();
        let detail = self.detail();
        let mut body =
            json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "detail": detail });
        match self {
            Self::Parameters => body["allowed"] = "no parameters".into(),
            Self::Mistake(RuleError { line, column, field, .. }) => {
                (body["line"], body["column"]) = (line.into(), column.into());
                if let Some(field) = field {
                    body["field"] = field.into();
                }
            }
            _ => {}
        }
        let headers = [(CONTENT_TYPE, "application/problem+json"), (CACHE_CONTROL, "no-store")];
        (status, headers, body.to_string()).into_response()
    }
}
