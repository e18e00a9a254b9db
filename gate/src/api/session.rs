//! `POST /api/v1/login` and `/api/v1/logout`: the session of a browser begins and ends.
//!
//! A login is JSON, or the form of the login page.

use std::sync::Arc;
use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::header::{CONTENT_TYPE, LOCATION, SET_COOKIE};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::answers::{LoggedOut, Me};
use super::cookie::Cookie;
use super::{Answer, body};
use crate::authorize::Gate;
use crate::credentials::{Credential, parse};
use crate::identify::require_same_site;
use crate::identity::Identity;
use crate::login_page;
use crate::refusal::Refusal;
use crate::secret::Secret;

/// What both forms of a login have.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Login {
    name: String,
    password: String,
    /// The path to go to, from the form.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Html,
}

pub(super) async fn login(State(gate): State<Arc<Gate>>, request: Request) -> Answer {
    let (parts, body) = request.into_parts();
    body::require_no_parameters(&parts.uri)?;
    // A page of another site could otherwise log a browser in under a name of its choice.
    require_same_site(&parts)?;
    let form = form_of(&parts)?;
    let bytes = to_bytes(body, body::MAX_BYTES).await.map_err(|_| Refusal::Body)?;
    let read: Option<Login> = match form {
        Form::Json => serde_json::from_slice(&bytes).ok(),
        Form::Html => serde_urlencoded::from_bytes(&bytes).ok(),
    };
    // The error of the parser might repeat the password.
    let Login { name, password, next } = read.ok_or_else(|| {
        Refusal::BadRequest("a login has a name and a password, and nothing else".to_owned())
    })?;
    let next = login_page::local(next.as_deref().unwrap_or("/")).to_owned();
    match gate.login(&parts, &name, Secret::new(password)).await {
        Ok((token, identity)) => {
            let cookie = Cookie::session(token.reveal(), gate.session_lifetime());
            begun(form, &next, cookie.header(&parts.extensions)?, &identity)
        }
        Err(refusal) if form == Form::Html => {
            let said = refusal.to_string();
            Ok(login_page::page(refusal.mapping().http, Some(&said), &next, &parts.headers, gate.offers()))
        }
        Err(refusal) => Err(refusal),
    }
}

fn begun(form: Form, next: &str, cookie: HeaderValue, identity: &Identity) -> Answer {
    let mut response = match form {
        Form::Json => body::json(StatusCode::OK, &Me::from(identity))?,
        Form::Html => {
            let mut response = StatusCode::SEE_OTHER.into_response();
            let next = HeaderValue::from_str(next).unwrap_or(HeaderValue::from_static("/"));
            response.headers_mut().insert(LOCATION, next);
            response
        }
    };
    response.headers_mut().append(SET_COOKIE, cookie);
    Ok(response)
}

pub(super) async fn logout(State(gate): State<Arc<Gate>>, request: Request) -> Answer {
    body::require_no_parameters(request.uri())?;
    let at_provider = match parse(request.headers()) {
        Ok(Credential::Session(token)) => gate.logout(&token).await,
        _ => None,
    };
    let mut response = match at_provider {
        Some(location) => body::json(StatusCode::OK, &LoggedOut { location })?,
        None => StatusCode::NO_CONTENT.into_response(),
    };
    let cookie = Cookie::session("", Duration::ZERO);
    response.headers_mut().append(SET_COOKIE, cookie.header(request.extensions())?);
    Ok(response)
}

fn form_of(parts: &Parts) -> Result<Form, Refusal> {
    let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    match kind.split(';').next().map(str::trim) {
        Some("application/json") => Ok(Form::Json),
        Some("application/x-www-form-urlencoded") => Ok(Form::Html),
        _ => Err(Refusal::ContentType),
    }
}
