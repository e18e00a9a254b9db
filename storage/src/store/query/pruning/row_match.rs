//! The result of evaluating a predicate on the columns of a row.

/// Whether a row satisfies a predicate, as far as columns decide it. Ordered, so that *and* is the smallest and *or*
/// the largest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum RowMatch {
    No,
    /// The span has to be decoded.
    Maybe,
    Yes,
}

// === impl RowMatch ===

impl RowMatch {
    pub(super) fn of(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }

    pub(super) fn negated(self) -> Self {
        match self {
            Self::No => Self::Yes,
            Self::Maybe => Self::Maybe,
            Self::Yes => Self::No,
        }
    }
}
