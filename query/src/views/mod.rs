//! What a caller sees of the store: a [`TraceStore`] over the whole one, for callers of several tenants and for roles
//! that see a part. Handlers and engine ask it like any other store, so that what is hidden from a caller cannot come
//! out by a path that was forgotten: a method that cannot hide something refuses.

mod counted;
mod counts;
mod joined;
mod mask;
mod restricted;
mod spans;
mod tables;

use std::sync::Arc;

use spandrel_proto::{Caller, Restriction};
use spandrel_quota::Ledger;
use spandrel_storage::TraceStore;

use self::counted::CountedStore;
use self::joined::JoinedStore;
use self::mask::Masker;
use self::restricted::RestrictedStore;

/// The store as the caller sees it. Each tenant is counted and restricted for itself, and then they are joined: what is
/// hidden of one has no say in the answers about all.
pub(crate) fn of(
    mut store: Arc<dyn TraceStore>,
    ledger: Option<Arc<Ledger>>,
    caller: &Caller,
) -> Result<Arc<dyn TraceStore>, String> {
    if let Some(ledger) = ledger {
        store = Arc::new(CountedStore::new(store, ledger, caller.account.clone()));
    }
    if let Some(restriction) = &caller.restriction {
        store = Arc::new(RestrictedStore::new(store, restriction)?);
    }
    if caller.tenants.only().is_none() {
        store = Arc::new(JoinedStore::new(store, caller.tenants.clone()));
    }
    Ok(store)
}

/// A name that stands among counts, as the caller sees it.
pub(crate) fn name(name: String, caller: &Caller) -> String {
    let seen = caller.restriction.as_ref().and_then(|restriction| Masker::new(&restriction.mask).text(&name));
    seen.unwrap_or(name)
}

/// Checks what can be checked of a restriction before a caller has it.
pub fn check(restriction: &Restriction) -> Result<(), String> {
    if restriction.mask.keys.iter().any(|key| key == "service.name") {
        return Err("service.name cannot be masked; limit the role to services instead".to_owned());
    }
    if restriction.mask.keys.iter().any(String::is_empty) {
        return Err("a key to be masked has a name".to_owned());
    }
    restriction.condition.as_deref().map_or(Ok(()), |condition| crate::selector(condition).map(|_| ()))
}
