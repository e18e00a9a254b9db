//! The documents of an identity provider: where its endpoints are, and its answer to a code.

use serde::Deserialize;

use super::settings::is_safe;
use crate::secret::Secret;

/// Where an issuer says its endpoints are (OpenID Connect Discovery 1.0).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    pub issuer: String,
    pub jwks_uri: String,
    #[serde(default)]
    pub authorization_endpoint: Option<String>,
    #[serde(default)]
    pub token_endpoint: Option<String>,
    #[serde(default)]
    pub end_session_endpoint: Option<String>,
    #[serde(default)]
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What the token endpoint answers to a code: the part of it that a login needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TokenAnswer {
    IdToken(Secret),
    /// The code of the error, as in `invalid_grant`.
    Error(String),
}

// === impl Metadata ===

impl Metadata {
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(bytes)
    }

    /// An endpoint at which a stranger on the network could answer, or read what a browser takes there.
    pub(super) fn unsafe_endpoint(&self) -> Option<&str> {
        let optional = [&self.authorization_endpoint, &self.token_endpoint, &self.end_session_endpoint];
        let all = optional.into_iter().flatten().chain([&self.jwks_uri]);
        all.map(String::as_str).find(|endpoint| !is_safe(endpoint))
    }
}

// === impl TokenAnswer ===

impl TokenAnswer {
    /// Reads an answer; `None` if it has neither a token nor an error.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
            error: Option<String>,
        }
        let Answer { id_token, error } = serde_json::from_slice(bytes).ok()?;
        // People see it and the log keeps it, so it is cut down to what an error code may consist of.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let error = error.map(|error| error.chars().filter(|c| is_word(*c)).take(64).collect());
        error.map(Self::Error).or_else(|| id_token.map(|token| Self::IdToken(Secret::new(token))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_endpoint_has_to_be_safe() {
        let good = serde_json::json!({
            "issuer": "https://a", "jwks_uri": "https://a/k", "authorization_endpoint": "https://b/auth",
            "token_endpoint": "http://127.0.0.1:1/token", "end_session_endpoint": "https://a/end"
        });
        let read = |document: &serde_json::Value| Metadata::read(document.to_string().as_bytes()).unwrap();
        assert_eq!(read(&good).unsafe_endpoint(), None);
        for name in ["jwks_uri", "authorization_endpoint", "token_endpoint", "end_session_endpoint"] {
            for endpoint in ["http://a/x", "javascript:alert(1)", "/x", ""] {
                let mut bad = good.clone();
                bad[name] = endpoint.into();
                assert_eq!(read(&bad).unsafe_endpoint(), Some(endpoint), "{name}");
            }
        }
    }

    #[test]
    fn an_error_stands_above_a_token_and_is_a_word() {
        let read = |text: &str| TokenAnswer::read(text.as_bytes());
        assert_eq!(read(r#"{"id_token":"a.b.c","x":1}"#), Some(TokenAnswer::IdToken(Secret::new("a.b.c"))));
        let error = read(r#"{"error":"invalid_grant<b>\n","id_token":"a.b.c"}"#);
        assert_eq!(error, Some(TokenAnswer::Error("invalid_grantb".to_owned())));
        for text in ["", "[]", "{}", r#"{"id_token":7}"#, "<html>"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
