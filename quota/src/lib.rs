//! What tenants and credentials may take of a server, and what they have taken.
//!
//! A [`Ledger`] counts spans, bytes and questions of each tenant and of each credential, and refuses what is above their
//! [`Limits`]. [`Places`] share out what only so many may do at once, so that one tenant does not take them all.
//! Collector and query ask both; this crate knows neither of them, and nothing of HTTP or gRPC: how a refusal is answered
//! is theirs.

mod bucket;
mod ledger;
mod limits;
mod places;
mod usage;

pub use ledger::{Exceeded, Ledger, QuestionGuard, StoredBytes};
pub use limits::{Limits, QuotaConfig, TenantLimits};
pub use places::{Place, Places};
pub use usage::{ServiceUsage, Usage};
