//! The one place that chooses the cryptography of TLS (docs/adr/027-ring-for-tls.md).

use std::sync::{Arc, LazyLock};

use rustls::crypto::{CryptoProvider, ring};

/// The provider of ciphers, signatures and random numbers of every TLS connection, in and out.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));
    PROVIDER.clone()
}
