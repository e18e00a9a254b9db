//! What the proxies of a service mesh saw, read from their spans alone: who called whom, what each side says about it,
//! which instance answered which attempt, and how the load was spread.
//!
//! `names -> texts -> facts -> hops -> edges -> balance`:
//!
//! - [`names`] has every key and value that proxies write, in one place;
//! - [`texts`] picks out of a span what matters here, and [`facts`] says what it means: a listener or an attempt of a
//!   proxy, or a span of an application, with its workload, instance and [`outcome`];
//! - [`fields`] are those facts one by one, for queries;
//! - [`hops`] joins the spans of one trace: a request of a caller, and the attempts that reached a callee;
//! - [`explain`] says of each request of one trace what its attempts were and where its time went, and [`words`] says it
//!   in words;
//! - [`fold`] says which spans of a trace are parts of others, so that a request is shown once;
//! - [`edges`] sums up hops by caller and callee, and an [`edge`] has each side for itself;
//! - [`storms`] tells what retries cost, and when they were a load of their own;
//! - [`timeline`] tells when an instance got nothing any more, and when it came back;
//! - [`istio`] counts requests under the names of Istio's metrics;
//! - [`balance`] compares the shares of instances with what policies would give; [`replay`] says what that is for one of
//!   them.
//!
//! The formats are those of Envoy 1.40 as Istio configures it. What spans cannot say, such as attempts that reached no
//! proxy, is counted as unknown where something hints at it, and never guessed.
//!
//! Not here: reading traces from the store, and JSON.

pub mod balance;
mod cluster;
pub mod edge;
pub mod edges;
pub mod explain;
pub mod facts;
pub mod fields;
pub mod fold;
pub mod hops;
pub mod istio;
pub mod names;
mod node;
pub mod outcome;
pub mod replay;
pub mod span;
pub mod storms;
#[cfg(test)]
mod testing;
pub mod texts;
pub mod timeline;
pub mod words;
pub mod workload;

pub use cluster::{Cluster, Side};
pub use node::{Node, ProxyKind};
