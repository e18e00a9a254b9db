//! What a caller sees of the store: a [`TraceStore`] over the whole one, for callers of several tenants and for roles
//! that see a part. Handlers and engine ask it like any other store, so that what is hidden from a caller cannot come
//! out by a path that was forgotten: a method that cannot hide something refuses.

mod joined;

use std::sync::Arc;

use spandrel_proto::{Caller, Restriction};
use spandrel_storage::TraceStore;

use self::joined::JoinedStore;

/// The store as the caller sees it.
pub(crate) fn of(store: Arc<dyn TraceStore>, caller: &Caller) -> Result<Arc<dyn TraceStore>, String> {
    if caller.restriction.is_some() {
        return Err("restricted roles are not there yet".to_owned());
    }
    match caller.tenants.only() {
        Some(_) => Ok(store),
        None => Ok(Arc::new(JoinedStore::new(store, caller.tenants.clone()))),
    }
}

/// Checks what can be checked of a restriction before a caller has it.
pub fn check(restriction: &Restriction) -> Result<(), String> {
    restriction.condition.as_deref().map_or(Ok(()), |condition| crate::selector(condition).map(|_| ()))
}
