//! The cookies that this server sets.

use std::time::Duration;

use axum::http::{Extensions, HeaderValue};

use crate::credentials::SESSION_COOKIE;
use crate::refusal::Refusal;
use crate::tls::Peer;

/// A cookie that no script reads (`HttpOnly`).
pub(super) struct Cookie<'s> {
    name: &'static str,
    value: &'s str,
    path: &'static str,
    age: Duration,
    /// Which requests that another site causes carry it: `Strict` none, `Lax` those that open a page.
    same_site: &'static str,
    secure: bool,
}

/// The name of the cookie with the ticket of a login at an identity provider.
pub(super) const LOGIN_COOKIE: &str = "spandrel_login";

// === impl Cookie ===

impl<'s> Cookie<'s> {
    /// The cookie of a session; an empty token and no age remove it.
    pub(super) fn session(token: &'s str, age: Duration) -> Self {
        Self { name: SESSION_COOKIE, value: token, path: "/", age, same_site: "Strict", secure: false }
    }

    /// The ticket of a login, for the request with which the identity provider sends the browser back.
    pub(super) fn login(ticket: &'s str, age: Duration) -> Self {
        let path = crate::idp::CALLBACK;
        Self { name: LOGIN_COOKIE, value: ticket, path, age, same_site: "Lax", secure: false }
    }

    /// Never sends it over a plain connection, also if a proxy speaks plain HTTP with this server.
    pub(super) fn encrypted(self, secure: bool) -> Self {
        Self { secure: self.secure || secure, ..self }
    }

    /// The header, `Secure` if the connection, which these are the extensions of a request on, is encrypted.
    pub(super) fn header(&self, extensions: &Extensions) -> Result<HeaderValue, Refusal> {
        let encrypted = self.secure || extensions.get::<Peer>().is_some_and(|peer| peer.encrypted);
        let secure = if encrypted { "; Secure" } else { "" };
        let Self { name, value, path, same_site, .. } = self;
        let age = self.age.as_secs();
        let cookie =
            format!("{name}={value}; Path={path}; Max-Age={age}; HttpOnly; SameSite={same_site}{secure}");
        let mut cookie =
            HeaderValue::try_from(cookie).map_err(|error| Refusal::Internal(error.to_string()))?;
        cookie.set_sensitive(true);
        Ok(cookie)
    }
}
