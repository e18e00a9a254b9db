//! The refused spans of a request whose other spans are accepted: their number and some of the reasons.

/// Spans that were refused one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejections {
    /// The number of refused spans.
    pub count: u64,
    /// The different reasons, the first few of them.
    pub reasons: Vec<String>,
}

/// Reasons in a response: enough to find the cause, few enough to read.
const MAX_REASONS: usize = 8;

// === impl Rejections ===

impl Rejections {
    /// Counts a span, and lists its reason unless enough are listed.
    pub fn add(&mut self, reason: String) {
        self.add_many(1, reason);
    }

    /// Counts spans that are refused for the same reason. A count of zero is a warning: a part that could have
    /// contained spans was not understood.
    pub fn add_many(&mut self, count: u64, reason: String) {
        self.count += count;
        if self.has_room() && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Whether another reason would be listed.
    pub(crate) fn has_room(&self) -> bool {
        self.reasons.len() < MAX_REASONS
    }

    /// Whether the sender needs no report.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.reasons.is_empty()
    }

    /// The reasons as one line.
    pub fn message(&self) -> String {
        self.reasons.join("; ")
    }
}
