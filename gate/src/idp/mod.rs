//! Identity providers: whose tokens are believed, and what their claims mean here.
//!
//! [`IssuerSettings`] names an issuer of bearer tokens (JWTs). Its `Provider` knows the issuer's keys, [`token`] checks
//! signature, issuer, audience and times, and [`claims`] turns what the token says into an identity. [`OidcSettings`] is a
//! provider at which people log in with a browser; its tokens are checked in the same way.

mod claims;
mod documents;
mod fetch;
mod issuers;
mod login;
mod provider;
mod settings;
mod signature;
mod ticket;
mod token;
mod verifier;

pub use claims::ClaimSettings;
pub use documents::{Metadata, TokenAnswer};
pub use issuers::IssuerSettings;
pub use login::{CALLBACK, OidcSettings};
pub use settings::{Algorithm, InOrder, ProviderLimits, SettingsError};
pub use token::{Claims, TokenError, keys_of, unverified};

pub(crate) use issuers::{Issuers, Unknown, is_jwt};
pub(crate) use login::{Begun, Callback, Oidc, OidcError};
