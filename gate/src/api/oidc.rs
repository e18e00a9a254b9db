//! `GET /api/v1/oidc/login` and `/api/v1/oidc/callback`: a browser goes to the identity provider and comes back.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, LOCATION, SET_COOKIE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::Answer;
use super::cookie::{Cookie, LOGIN_COOKIE};
use crate::authorize::Gate;
use crate::credentials;
use crate::idp::Callback;
use crate::login_page;
use crate::refusal::Refusal;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parameters {
    /// The path to go to afterwards.
    #[serde(default)]
    next: Option<String>,
}

pub(super) async fn login(State(gate): State<Arc<Gate>>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let read = serde_urlencoded::from_str(parts.uri.query().unwrap_or_default());
    let Parameters { next } =
        read.map_err(|_| Refusal::BadRequest("this takes next=PATH and nothing else".to_owned()))?;
    let next = login_page::local(next.as_deref().unwrap_or("/")).to_owned();
    let oidc = gate.require_oidc()?;
    let begun = match gate.begin_oidc(&next).await {
        Ok(begun) => begun,
        Err(refusal) => return Ok(failed(&gate, &refusal, &next)),
    };
    let cookie = Cookie::login(&begun.ticket, oidc.ticket_lifetime()).encrypted(oidc.is_encrypted());
    let location =
        HeaderValue::try_from(begun.location).map_err(|error| Refusal::Internal(error.to_string()))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(SET_COOKIE, cookie.header(&parts.extensions)?);
    Ok(response)
}

pub(super) async fn callback(State(gate): State<Arc<Gate>>, request: Request) -> Answer {
    let (parts, _) = request.into_parts();
    let oidc = gate.require_oidc()?;
    let is_encrypted = oidc.is_encrypted();
    // What cannot be read has no state, and fails for that.
    let read: Callback =
        serde_urlencoded::from_str(parts.uri.query().unwrap_or_default()).unwrap_or_default();
    let ticket = credentials::cookie(&parts.headers, LOGIN_COOKIE);
    let mut response = match gate.finish_oidc(&parts, &read, ticket.as_ref()).await {
        Ok((token, next)) => {
            let cookie = Cookie::session(token.reveal(), gate.session_lifetime()).encrypted(is_encrypted);
            let mut response = login_page::go_on(&next);
            response.headers_mut().append(SET_COOKIE, cookie.header(&parts.extensions)?);
            response
        }
        Err(refusal) => failed(&gate, &refusal, "/"),
    };
    // A ticket is for one attempt.
    let spent = Cookie::login("", Duration::ZERO).encrypted(is_encrypted).header(&parts.extensions)?;
    response.headers_mut().append(SET_COOKIE, spent);
    Ok(response)
}

/// The login page with the reason, for a person.
fn failed(gate: &Gate, refusal: &Refusal, next: &str) -> Response {
    let (status, said) = (refusal.mapping().http, refusal.to_string());
    login_page::page(status, Some(&said), next, &axum::http::HeaderMap::new(), gate.offers())
}
