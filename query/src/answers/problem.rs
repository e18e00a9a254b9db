//! Errors as RFC 9457 problem documents.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProblemDocument<'a> {
    pub r#type: Cow<'a, str>,
    pub title: Cow<'a, str>,
    pub status: u16,
    /// The error, and how to avoid it.
    pub detail: Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameter: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed: Option<Cow<'a, str>>,
}
