//! Encryption on the wire: certificates and keys, handshakes of accepted connections, what a client certificate says.
//!
//! A listener asks [`Greeting`] what a client has begun to speak, lets a [`Handshakes`] speak TLS with it, and hands the
//! [`Peer`] to the requests of the connection. [`ServerTls`] holds the certificate and exchanges it when its files
//! change. [`Outgoing`] has what connections to others verify with. Who a certificate stands for, and what that one may
//! do, is decided elsewhere.
//!
//! # Metrics
//!
//! | name | kind | |
//! | --- | --- | --- |
//! | `spandrel_tls_handshakes_total{result}` | counter | `done`, `failed`, `late`, or `plain`: a client that spoke no TLS |
//! | `spandrel_tls_reloads_total{result}` | counter | changed files: `done`, or `failed`, after which the old certificate stays |
//! | `spandrel_tls_certificate_expiry_seconds{file}` | gauge | when the certificate in use ends, in seconds of Unix time |

mod authority;
mod greeting;
mod handshake;
mod outgoing;
mod peer;
mod pem;
mod provider;
mod reload;
mod server;

pub use authority::{Authority, AuthorityError, Issued};
pub use greeting::{Greeting, refuse_plain, refuse_tls};
pub use handshake::{HandshakeError, Handshakes, TlsStream};
pub use outgoing::{Outgoing, OutgoingFiles, advice, system_roots};
pub use peer::{Peer, PeerCertificate, PeerCertificateError};
pub use pem::{PemFile, TlsError};
pub use provider::provider;
pub use reload::{Reload, ServerTls};
pub use server::{ClientAuth, ServerFiles};
