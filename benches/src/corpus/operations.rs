//! The operations of the shop's services and their calls: about 110 operations, and as many client sides again as there
//! are callers.
//!
//! Only data. `walk.rs` draws durations and failures; attributes are in `recipe.rs`.

mod goods;
mod jobs;
mod orders;
mod pages;

use self::goods::IMAGE;
pub(super) use self::jobs::{EXPORT, REPRICE, REPRICE_CHUNK};
use self::pages::*;
use super::services::Service;

/// An operation of a service.
pub(super) struct Operation {
    pub(super) service: Service,
    pub(super) name: &'static str,
    pub(super) via: Via,
    /// The typical duration, without calls.
    pub(super) micros: u32,
    /// The share of executions that fail without a failed call.
    pub(super) failure: f64,
    pub(super) calls: &'static [Call],
}

/// How an operation is called, which decides kind and attributes of its spans.
#[derive(Clone, Copy)]
pub(super) enum Via {
    /// A request; the name is method and route. Paths, keys and texts have placeholders: `{user}`.
    Http { path: &'static str },
    /// A remote call; the name is service and method.
    Rpc,
    /// A message that a consumer group takes from a topic.
    Message { topic: &'static str, group: &'static str },
    /// A statement, of which only the caller has a span; the name is verb, namespace and collection.
    Statement { system: &'static str, text: &'static str },
    /// A read of a cache, of which only the caller has a span; the name is the verb.
    Cache { key: &'static str },
    /// A request to an external host, of which only the caller has a span; the name ends with the method.
    Outside { host: &'static str, path: &'static str },
    /// A step inside a service.
    Step { file: &'static str },
}

/// A call to another operation, with its probability and number.
#[derive(Clone, Copy)]
pub(super) struct Call {
    pub(super) operation: &'static Operation,
    pub(super) chance: f64,
    pub(super) times: (u32, u32),
    /// The next call does not wait for this one.
    pub(super) parallel: bool,
}

/// The operations of shoppers, all through the edge, with their weights.
pub(super) static ENTRIES: [(f64, &Operation); 15] = [
    (16.0, &HOME_PAGE),
    (24.0, &PRODUCT_PAGE),
    (10.0, &CATEGORY_PAGE),
    (12.0, &SEARCH_PAGE),
    (6.0, &BASKET_PAGE),
    (6.0, &FILL_BASKET),
    (5.0, &CHECKOUT_PAGE),
    (4.0, &ORDERS_PAGE),
    (0.8, &WRITE_REVIEW),
    (0.3, &USE_VOUCHER),
    (8.0, &MOBILE_HOME),
    (10.0, &MOBILE_PRODUCT),
    (3.0, &MOBILE_FILL_BASKET),
    (2.5, &MOBILE_CHECKOUT),
    (9.0, &IMAGE),
];

/// The weight of the export of the catalogue, on the scale of [`ENTRIES`].
pub(super) const EXPORT_SHARE: f64 = 0.15;

// === constructors of operations ===

const fn operation(service: Service, name: &'static str, via: Via, micros: u32) -> Operation {
    Operation { service, name, via, micros, failure: 0.0, calls: &[] }
}

const fn http(
    service: Service,
    name: &'static str,
    path: &'static str,
    micros: u32,
    calls: &'static [Call],
) -> Operation {
    operation(service, name, Via::Http { path }, micros).failing(0.018).calling(calls)
}

const fn rpc(service: Service, name: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    operation(service, name, Via::Rpc, micros).failing(0.02).calling(calls)
}

const fn sql(service: Service, name: &'static str, text: &'static str, micros: u32) -> Operation {
    operation(service, name, Via::Statement { system: "postgresql", text }, micros).failing(0.0165)
}

const fn cache(service: Service, name: &'static str, key: &'static str) -> Operation {
    operation(service, name, Via::Cache { key }, 350).failing(0.0138)
}

const fn step(service: Service, name: &'static str, file: &'static str, micros: u32) -> Operation {
    operation(service, name, Via::Step { file }, micros)
}

const fn message(service: Service, group: &'static str, micros: u32, calls: &'static [Call]) -> Operation {
    operation(service, "orders process", Via::Message { topic: "orders", group }, micros)
        .failing(0.022)
        .calling(calls)
}

const fn always(operation: &'static Operation) -> Call {
    Call { operation, chance: 1.0, times: (1, 1), parallel: false }
}

const fn sometimes(chance: f64, operation: &'static Operation) -> Call {
    Call { chance, ..always(operation) }
}

const fn repeated(least: u32, most: u32, operation: &'static Operation) -> Call {
    Call { times: (least, most), ..always(operation) }
}

/// A parallel call: front ends request all parts of a page at once.
const fn part(chance: f64, operation: &'static Operation) -> Call {
    Call { chance, parallel: true, ..always(operation) }
}

// === impl Operation ===

impl Operation {
    const fn failing(mut self, share: f64) -> Self {
        self.failure = share;
        self
    }

    const fn calling(mut self, calls: &'static [Call]) -> Self {
        self.calls = calls;
        self
    }
}
