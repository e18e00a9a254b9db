//! The documents of an identity provider: where its endpoints are, and its answer to a code.

use serde::Deserialize;

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
    pub token_endpoint_auth_methods_supported: Option<Vec<String>>,
}

/// What the token endpoint answers to a code, as far as it is used.
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
}

// === impl TokenAnswer ===

impl TokenAnswer {
    /// `None` for what is no answer of a token endpoint.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            id_token: Option<String>,
            error: Option<String>,
        }
        let Answer { id_token, error } = serde_json::from_slice(bytes).ok()?;
        // It is shown and logged: a word, not a text of somebody else's choice.
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let error = error.map(|error| error.chars().filter(|c| is_word(*c)).take(64).collect());
        error.map(Self::Error).or_else(|| id_token.map(|token| Self::IdToken(Secret::new(token))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
