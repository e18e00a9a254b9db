//! Verifies the tokens of one issuer, with the keys that its provider has at the moment.

use std::sync::Arc;

use super::provider::Provider;
use super::token::{Claims, Expected, TokenError, Unverified};

/// What the tokens of an issuer have to be, and where its keys come from.
pub(crate) struct Verifier {
    pub(crate) expected: Expected,
    pub(crate) provider: Arc<Provider>,
}

// === impl Verifier ===

impl Verifier {
    /// What a token says, if it is genuine. `named` is what it says about itself.
    pub(crate) async fn verify(&self, token: &str, named: &Unverified) -> Result<Claims, TokenError> {
        self.expected.require_algorithm(named)?;
        let key = self.provider.key(named).await?;
        self.expected.verify(token, named, &key)
    }
}
