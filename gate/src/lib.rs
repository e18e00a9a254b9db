//! The gate around every port: who asks, what they may do, and what was done.
//!
//! A request passes [`guard`] before any handler sees it: its credential becomes an [`Identity`], the table in
//! [`routes`] says what the route needs, and the table in [`roles`] what the identity may. Nothing of the body is read
//! until that is decided. This crate knows HTTP and gRPC, and neither store nor collector nor query: the composition
//! root wraps their routers with it, and its listeners speak TLS by [`tls`].

pub mod api;
mod attempts;
pub mod audit;
mod authorize;
mod certificates;
mod credentials;
mod file;
mod identify;
mod identity;
pub mod idp;
pub mod keys;
mod login;
mod login_page;
mod proxy;
mod random;
mod recorded;
mod refusal;
pub mod roles;
pub mod routes;
mod secret;
mod seldom;
mod tenants;
pub mod tls;
pub mod users;

pub use authorize::{Access, Gate, GateConfig, GateError, guard};
pub use certificates::CertificateSettings;
pub use credentials::{Credential, CredentialError, parse as parse_credential};
pub use file::{FileError, ListFile, Stamp};
pub use identify::Method;
pub use identity::{Identity, Via};
pub use keys::{KeyFile, Keys};
pub use proxy::{ProxyError, ProxyHeaders, TrustedProxies};
pub use roles::{NamedRole, Permission, Role, RoleError, RoleName, RoleSettings, Roles};
pub use secret::Secret;
pub use tenants::{TENANT_HEADER, Tenancy, TenantGrant};
