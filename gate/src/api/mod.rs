//! The gate's own part of the JSON API: logging in and out, who am I, and the keys. `gate/openapi.json` describes it.

mod answers;
mod audit;
mod body;
mod cookie;
mod keys;
mod me;
mod oidc;
mod session;

use std::sync::Arc;

use axum::Router;
use axum::response::Response;
use axum::routing::{delete, get, post};

pub use answers::{CreateKey, CreatedKey, KeyAnswer, KeysAnswer, Me};

use crate::authorize::Gate;
use crate::refusal::Refusal;

/// The OpenAPI document of these routes: `paths` and `components` to be added to those of the server.
pub const OPENAPI: &str = include_str!("../../openapi.json");

/// The routes, for the HTTP port. They are guarded like all others: wrap the whole port with [`crate::guard`].
pub fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/api/v1/me", get(me::get))
        .route("/api/v1/audit", get(audit::get))
        .route("/api/v1/login", post(session::login))
        .route("/api/v1/logout", post(session::logout))
        .route("/api/v1/oidc/login", get(oidc::login))
        .route("/api/v1/oidc/callback", get(oidc::callback))
        .route("/api/v1/keys", get(keys::list).post(keys::create))
        .route("/api/v1/keys/{keyId}", delete(keys::revoke))
        .method_not_allowed_fallback(body::method_not_allowed)
        .with_state(gate)
}

/// An answer, or why there is none.
type Answer = Result<Response, Refusal>;
