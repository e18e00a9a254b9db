//! Reads the credential out of the headers of a request. Whether it is valid is decided elsewhere.

use axum::http::header::{AUTHORIZATION, COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::secret::Secret;

/// What a request presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// No credential at all.
    None,
    /// A token: `Authorization: Bearer TOKEN`, `X-API-Key: TOKEN`, or the password of Basic.
    Token(Secret, Carrier),
    /// The session of a browser.
    Session(Secret),
}

/// Where a token was found. A browser repeats a Basic password by itself, also for pages of other sites; the other two
/// are sent on purpose alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    Bearer,
    Basic,
    ApiKey,
}

/// A credential that cannot be read. The text never repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    #[error("the header {0} is there more than once; send one")]
    Twice(&'static str),
    #[error("the header {0} is longer than {MAX_BYTES} bytes")]
    TooLong(&'static str),
    #[error("the header {0} holds other than visible ASCII characters")]
    NotText(&'static str),
    #[error("`Authorization` is neither `Bearer KEY` nor `Basic` with a key as password")]
    Scheme,
    #[error("`Authorization: Basic` is not base64 of NAME:KEY")]
    Basic,
}

/// The name of the cookie that holds a session.
pub const SESSION_COOKIE: &str = "spandrel_session";
/// The longest header that is looked at; keys and tokens are shorter.
const MAX_BYTES: usize = 8 << 10;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Finds the credential: `Authorization` before `X-API-Key` before the session's cookie. gRPC metadata are the same
/// headers.
pub fn parse(headers: &HeaderMap) -> Result<Credential, CredentialError> {
    if let Some(text) = only(headers, &AUTHORIZATION, "Authorization")? {
        return authorization(text);
    }
    if let Some(text) = only(headers, &API_KEY, "X-API-Key")? {
        return Ok(Credential::Token(Secret::new(text.trim()), Carrier::ApiKey));
    }
    Ok(cookie(headers, SESSION_COOKIE).map_or(Credential::None, Credential::Session))
}

/// The value of a header that may be there once.
pub(crate) fn only<'h>(
    headers: &'h HeaderMap,
    name: &HeaderName,
    shown: &'static str,
) -> Result<Option<&'h str>, CredentialError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(CredentialError::Twice(shown));
    }
    if value.len() > MAX_BYTES {
        return Err(CredentialError::TooLong(shown));
    }
    value.to_str().map(Some).map_err(|_| CredentialError::NotText(shown))
}

fn authorization(text: &str) -> Result<Credential, CredentialError> {
    let (scheme, rest) = text.trim().split_once(' ').ok_or(CredentialError::Scheme)?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Credential::Token(Secret::new(rest.trim()), Carrier::Bearer));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(CredentialError::Scheme);
    }
    let bytes = STANDARD.decode(rest.trim()).map_err(|_| CredentialError::Basic)?;
    let pair = String::from_utf8(bytes).map_err(|_| CredentialError::Basic)?;
    let (_, password) = pair.split_once(':').ok_or(CredentialError::Basic)?;
    Ok(Credential::Token(Secret::new(password), Carrier::Basic))
}

/// One of the cookies. Cookies of other applications on this host are of no interest, so none is an error.
pub(crate) fn cookie(headers: &HeaderMap, wanted: &str) -> Option<Secret> {
    let texts = headers.get_all(COOKIE).iter().filter_map(|value: &HeaderValue| value.to_str().ok());
    let mut pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let (_, value) = pairs.find(|(name, _)| *name == wanted)?;
    (!value.is_empty() && value.len() <= MAX_BYTES).then(|| Secret::new(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(headers: &[(&str, &str)]) -> Result<Credential, CredentialError> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::try_from(*name).unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        parse(&map)
    }

    fn token(text: &str, carrier: Carrier) -> Result<Credential, CredentialError> {
        Ok(Credential::Token(Secret::new(text), carrier))
    }

    #[test]
    fn a_key_comes_as_bearer_as_password_or_in_a_header_of_its_own() {
        for name in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(parsed(&[("authorization", &format!("{name}  k1 "))]), token("k1", Carrier::Bearer));
        }
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        assert_eq!(parsed(&[("authorization", &basic("grafana:k2"))]), token("k2", Carrier::Basic));
        assert_eq!(parsed(&[("authorization", &basic(":k2:x"))]), token("k2:x", Carrier::Basic));
        assert_eq!(parsed(&[("x-api-key", "k3")]), token("k3", Carrier::ApiKey));
        let both = [("x-api-key", "k3"), ("authorization", "Bearer k1")];
        assert_eq!(parsed(&both), token("k1", Carrier::Bearer));
        assert_eq!(parsed(&[]), Ok(Credential::None));
    }

    #[test]
    fn a_session_is_found_among_other_cookies() {
        let cookies = [("cookie", "a=b; spandrel_session=s1"), ("cookie", "c=d")];
        assert_eq!(parsed(&cookies), Ok(Credential::Session(Secret::new("s1"))));
        for other in ["spandrel_session=", "xspandrel_session=s1", "spandrel_session", ";;="] {
            assert_eq!(parsed(&[("cookie", other)]), Ok(Credential::None), "{other}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_does_not_repeat_it() {
        for (headers, error) in [
            (vec![("authorization", "secret")], CredentialError::Scheme),
            (vec![("authorization", "Digest secret")], CredentialError::Scheme),
            (vec![("authorization", "Basic !secret!")], CredentialError::Basic),
            (vec![("authorization", "Basic c2VjcmV0")], CredentialError::Basic),
            (
                vec![("authorization", "Bearer a"), ("authorization", "Bearer b")],
                CredentialError::Twice("Authorization"),
            ),
            (vec![("x-api-key", "a"), ("x-api-key", "b")], CredentialError::Twice("X-API-Key")),
        ] {
            assert_eq!(parsed(&headers), Err(error));
            assert!(!error.to_string().contains("secret"));
        }
        let long = "x".repeat(MAX_BYTES + 1);
        assert_eq!(parsed(&[("x-api-key", &long)]), Err(CredentialError::TooLong("X-API-Key")));
    }
}
