//! Who asks, for the quotas and the shares of those who ask at the same time.

use std::sync::Arc;

use spandrel_proto::{Caller, TenantId};
use spandrel_quota::{Ledger, QuestionGuard};
use spandrel_storage::TraceStore;

use crate::problem::Problem;

/// The caller of a request, and the ledger that counts its questions; none where tenants are not told apart.
#[derive(Clone, Default)]
pub(crate) struct Asker {
    pub(crate) caller: Caller,
    pub(crate) ledger: Option<Arc<Ledger>>,
}

/// A question that counts until it is dropped.
pub(crate) struct Question {
    _counted: Option<QuestionGuard>,
}

// === impl Asker ===

impl Asker {
    /// Whose share a question takes: that of its first tenant.
    pub(crate) fn tenant(&self) -> &TenantId {
        self.caller.tenants.first()
    }

    /// Begins a question, unless its tenants or its credential ask too much.
    pub(crate) fn begin(&self) -> Result<Question, Problem> {
        let question = self.ledger.as_ref().map(|ledger| ledger.begin_question(&self.caller));
        Ok(Question { _counted: question.transpose().map_err(Problem::from)? })
    }

    /// Counts spans that a question has looked at.
    pub(crate) fn count_scanned(&self, store: &dyn TraceStore, spans: u64) {
        let Some(ledger) = self.ledger.as_ref().filter(|_| spans > 0) else { return };
        for tenant in self.caller.tenants.iter() {
            let stored = store.tenant_status(tenant);
            let mean = stored.store_bytes.checked_div(stored.span_count).unwrap_or_default();
            let bytes = spans.saturating_mul(mean);
            ledger.count_scanned(tenant, self.caller.account.as_ref(), spans, bytes);
        }
    }
}
