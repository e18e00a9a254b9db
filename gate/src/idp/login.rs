//! The login at an identity provider: OpenID Connect's authorization code flow with PKCE.
//!
//! [`Oidc::begin`] sends the browser to the provider, [`Oidc::finish`] takes it back with a code, and exchanges that for a
//! token about the user. Sessions are begun elsewhere.

use std::path::PathBuf;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

use super::claims::{ClaimError, ClaimSettings, Mapping};
use super::documents::{Metadata, TokenAnswer};
use super::fetch::Form;
use super::provider::{Provider, Source, Unavailable};
use super::settings::{Algorithm, ProviderLimits, SettingsError, require_url};
use super::ticket::{Ticket, Tickets};
use super::token::{Claims, Expected, TokenError, unverified};
use super::verifier::Verifier;
use crate::identity::{Identity, Via};
use crate::random;
use crate::roles::Roles;
use crate::secret::Secret;

/// The identity provider of the login page: `oidc`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OidcSettings {
    pub issuer: String,
    /// What the link of the login page calls it.
    #[serde(default = "default_name")]
    pub name: String,
    pub client_id: String,
    /// A file with the secret of this client; a public client has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret_file: Option<PathBuf>,
    /// The address of this server as browsers see it, with the path `/api/v1/oidc/callback`.
    pub redirect_url: String,
    /// Where the provider sends a browser back after it has logged out there too, as it is registered with the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub post_logout_url: Option<String>,
    #[serde(default = "default_scopes")]
    pub scopes: Vec<String>,
    #[serde(default = "Algorithm::all")]
    pub algorithms: Vec<Algorithm>,
    /// Authorities of the provider's own certificate, as PEM; those of the operating system unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<PathBuf>,
    #[serde(default)]
    pub identity: ClaimSettings,
}

/// A login at the provider.
pub(crate) struct Oidc {
    settings: OidcSettings,
    secret: Option<Secret>,
    verifier: Verifier,
    mapping: Mapping,
    tickets: Tickets,
}

/// A login that was begun.
pub(crate) struct Begun {
    /// Where the browser has to go.
    pub(crate) location: String,
    /// What it has to bring back.
    pub(crate) ticket: String,
}

/// What the provider sends a browser back with.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Callback {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    iss: Option<String>,
}

/// Why a login does not succeed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum OidcError {
    #[error("this login was not begun in this browser, or too long ago; sign in again")]
    State,
    #[error("the identity provider did not let you in ({0}); sign in again")]
    Provider(String),
    #[error("the answer is of another identity provider; sign in again")]
    Issuer,
    #[error("the identity provider does not take the code ({0}); sign in again")]
    Code(String),
    #[error(transparent)]
    Token(TokenError),
    #[error("the token belongs to another login; sign in again")]
    Nonce,
    #[error(transparent)]
    Claims(#[from] ClaimError),
    #[error("the identity provider cannot be reached now")]
    Unavailable,
    #[error("no random number: {0}")]
    Random(String),
}

/// The path to which the provider sends browsers back.
pub const CALLBACK: &str = "/api/v1/oidc/callback";
/// Characters of state, nonce and verifier: 43 of 62 are just above 256 bits, and the fewest of a verifier.
const RANDOM: usize = 43;
const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// The longest code that is passed on.
const MAX_CODE: usize = 4 << 10;

fn default_name() -> String {
    "single sign-on".to_owned()
}

fn default_scopes() -> Vec<String> {
    ["openid", "profile"].map(str::to_owned).to_vec()
}

// === impl OidcError ===

impl OidcError {
    /// Whether it may be a guess at a code or a token. What can be caused without one is none, such as a callback
    /// without its login, and neither is what the provider is at fault for: it would keep others of the address out.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, Self::Code(_) | Self::Token(_) | Self::Nonce)
    }
}

impl From<Unavailable> for OidcError {
    fn from(_: Unavailable) -> Self {
        Self::Unavailable
    }
}

impl From<TokenError> for OidcError {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Unavailable => Self::Unavailable,
            error => Self::Token(error),
        }
    }
}

// === impl Oidc ===

impl Oidc {
    pub(crate) fn new(
        settings: OidcSettings,
        secret: Option<Secret>,
        roles: &Roles,
        limits: &ProviderLimits,
    ) -> Result<Self, SettingsError> {
        require_url("the issuer", &settings.issuer)?;
        require_url("the redirect-url", &settings.redirect_url)?;
        if let Some(url) = &settings.post_logout_url {
            require_url("the post-logout-url", url)?;
        }
        let empty = |what| SettingsError::Empty { of: "oidc".to_owned(), what };
        if !settings.redirect_url.ends_with(CALLBACK) {
            return Err(empty("a redirect-url that ends with /api/v1/oidc/callback"));
        }
        if !settings.scopes.iter().any(|scope| scope == "openid") {
            return Err(empty("the scope openid"));
        }
        let random = |_| empty("random numbers, which the operating system does not give");
        let expected = Expected {
            issuer: settings.issuer.clone(),
            audience: vec![settings.client_id.clone()],
            algorithms: settings.algorithms.clone(),
            skew: limits.skew,
        };
        let provider = Provider::new(&settings.issuer, Source::Discovery, settings.ca.as_deref(), limits)?;
        Ok(Self {
            verifier: Verifier { expected, provider },
            mapping: settings.identity.mapping("oidc", roles)?,
            tickets: Tickets::new(limits.login).map_err(random)?,
            settings,
            secret,
        })
    }

    /// What the login page calls the provider.
    pub(crate) fn name(&self) -> &str {
        &self.settings.name
    }

    /// Whether browsers reach this server by HTTPS, although a proxy may speak plain HTTP with it.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.settings.redirect_url.starts_with("https://")
    }

    pub(crate) fn ticket_lifetime(&self) -> std::time::Duration {
        self.tickets.lifetime()
    }

    /// Begins a login that leads to this path.
    pub(crate) async fn begin(&self, next: &str) -> Result<Begun, OidcError> {
        let metadata = self.verifier.provider.metadata().await?;
        let endpoint = metadata.authorization_endpoint.ok_or(OidcError::Unavailable)?;
        let draw = || random::text(RANDOM, ALPHABET).map_err(|error| OidcError::Random(error.to_string()));
        let ticket = Ticket::new(draw()?, draw()?, draw()?, next.to_owned());
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&ticket.verifier));
        let query = [
            ("response_type", "code"),
            ("client_id", &self.settings.client_id),
            ("redirect_uri", &self.settings.redirect_url),
            ("scope", &self.settings.scopes.join(" ")),
            ("state", &ticket.state),
            ("nonce", &ticket.nonce),
            ("code_challenge", &challenge),
            ("code_challenge_method", "S256"),
        ];
        let location = with_query(&endpoint, &query);
        Ok(Begun { location, ticket: self.tickets.issue(ticket, SystemTime::now()) })
    }

    /// Where a browser logs out at the provider, if that offers it (OpenID Connect RP-Initiated Logout 1.0).
    pub(crate) async fn end_session(&self) -> Option<String> {
        let endpoint = self.verifier.provider.metadata().await.ok()?.end_session_endpoint?;
        let mut query = vec![("client_id", self.settings.client_id.as_str())];
        query.extend(self.settings.post_logout_url.as_deref().map(|url| ("post_logout_redirect_uri", url)));
        Some(with_query(&endpoint, &query))
    }

    /// Who has logged in, and the path to go to.
    pub(crate) async fn finish(
        &self,
        callback: &Callback,
        ticket: Option<&str>,
    ) -> Result<(Identity, String), OidcError> {
        let ticket =
            ticket.and_then(|text| self.tickets.read(text, SystemTime::now())).ok_or(OidcError::State)?;
        let state = callback.state.as_deref().unwrap_or_default();
        if !bool::from(state.as_bytes().ct_eq(ticket.state.as_bytes())) {
            return Err(OidcError::State);
        }
        // RFC 9207: an answer of another provider would carry our code to the wrong one.
        if callback.iss.as_ref().is_some_and(|issuer| *issuer != self.settings.issuer) {
            return Err(OidcError::Issuer);
        }
        let code = callback.code.as_deref().filter(|code| (1..=MAX_CODE).contains(&code.len()));
        let (None, Some(code)) = (&callback.error, code) else {
            return Err(OidcError::Provider(word(callback.error.as_deref().unwrap_or("no code"))));
        };
        let token = self.exchange(code, &ticket).await?;
        let claims = self.verified(token.reveal(), &ticket).await?;
        let via = Via::Oidc(self.settings.issuer.as_str().into());
        Ok((self.mapping.identity(&claims, via)?, ticket.next))
    }

    /// Exchanges a code for the token about the user.
    async fn exchange(&self, code: &str, ticket: &Ticket) -> Result<Secret, OidcError> {
        let provider = &self.verifier.provider;
        let metadata = provider.metadata().await?;
        let endpoint = metadata.token_endpoint.as_deref().ok_or(OidcError::Unavailable)?;
        let form = self.form(code, ticket, &metadata);
        let answer = provider.client().post(endpoint, form).await;
        let (status, body) = answer.map_err(|error| {
            tracing::warn!(error, "the identity provider does not exchange a code");
            OidcError::Unavailable
        })?;
        match TokenAnswer::read(&body) {
            Some(TokenAnswer::IdToken(token)) if status == 200 => Ok(token),
            Some(TokenAnswer::Error(error)) if status < 500 => Err(OidcError::Code(error)),
            _ if status >= 500 => {
                tracing::warn!(status, "the identity provider does not exchange a code");
                Err(OidcError::Unavailable)
            }
            _ => Err(OidcError::Code(format!("status {status}"))),
        }
    }

    fn form(&self, code: &str, ticket: &Ticket, metadata: &Metadata) -> Form {
        let mut fields = vec![
            ("grant_type", "authorization_code".to_owned()),
            ("code", code.to_owned()),
            ("redirect_uri", self.settings.redirect_url.clone()),
            ("code_verifier", ticket.verifier.clone()),
            ("client_id", self.settings.client_id.clone()),
        ];
        let methods = metadata.token_endpoint_auth_methods_supported.as_deref().unwrap_or_default();
        let has = |name: &str| methods.iter().any(|method| method == name);
        let by_post = !has("client_secret_basic") && has("client_secret_post");
        let authorization = match &self.secret {
            Some(secret) if by_post => {
                fields.push(("client_secret", secret.reveal().to_owned()));
                None
            }
            Some(secret) => {
                let pair = [&self.settings.client_id, secret.reveal()].map(form_encoded).join(":");
                Some(Secret::new(format!("Basic {}", STANDARD.encode(pair))))
            }
            None => None,
        };
        Form { fields, authorization }
    }

    async fn verified(&self, token: &str, ticket: &Ticket) -> Result<Claims, OidcError> {
        let named = unverified(token)?;
        let claims = self.verifier.verify(token, &named).await?;
        let text = |name: &str| claims.get(name).and_then(Value::as_str);
        let nonce = text("nonce").unwrap_or_default();
        if !bool::from(nonce.as_bytes().ct_eq(ticket.nonce.as_bytes())) {
            return Err(OidcError::Nonce);
        }
        // A token for several audiences says which of them has asked for it.
        if claims.get("azp").is_some() && text("azp") != Some(&self.settings.client_id) {
            return Err(TokenError::Audience.into());
        }
        Ok(claims)
    }
}

/// An endpoint with parameters. It may have some of its own.
fn with_query(endpoint: &str, query: &[(&str, &str)]) -> String {
    let separator = if endpoint.contains('?') { '&' } else { '?' };
    format!("{endpoint}{separator}{}", serde_urlencoded::to_string(query).unwrap_or_default())
}

/// A text as RFC 6749 wants it in Basic: encoded like a form.
fn form_encoded(text: &str) -> String {
    let pair = serde_urlencoded::to_string([("", text)]).unwrap_or_default();
    pair.trim_start_matches('=').to_owned()
}

/// What may be shown and logged of a text that everybody can send.
fn word(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ' ')).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_added_to_those_of_an_endpoint() {
        assert_eq!(with_query("https://a/x", &[("b", "c d&")]), "https://a/x?b=c+d%26");
        assert_eq!(with_query("https://a/x?y=z", &[("b", "c")]), "https://a/x?y=z&b=c");
    }

    #[test]
    fn secrets_are_encoded_like_a_form() {
        assert_eq!(form_encoded("a b:c%=é"), "a+b%3Ac%25%3D%C3%A9");
        assert_eq!(form_encoded("==x"), "%3D%3Dx");
        assert_eq!(word("access_denied<script>\r\n"), "access_deniedscript");
    }
}
