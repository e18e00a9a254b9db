//! Who asks, for the quotas and the shares of those who ask at the same time.

use std::sync::Arc;

use spandrel_proto::{Caller, TenantId};
use spandrel_quota::{Ledger, QuestionGuard};

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
}
