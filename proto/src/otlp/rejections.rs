//! The spans of a request that are refused while the others are kept: their number and some of the reasons.

/// Spans that were refused one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rejections {
    /// How many.
    pub count: u64,
    /// The different reasons, the first few of them.
    pub reasons: Vec<String>,
}

/// Reasons listed in an answer: enough to find the cause, few enough to read.
const MAX_REASONS: usize = 8;

// === impl Rejections ===

impl Rejections {
    /// Counts one more span, and its reason unless enough are listed.
    pub fn add(&mut self, reason: String) {
        self.add_many(1, reason);
    }

    /// Counts spans that are refused for one reason. Without any it is a warning: something that could have
    /// held spans was not understood.
    pub(super) fn add_many(&mut self, count: u64, reason: String) {
        self.count += count;
        if self.has_room() && !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    /// Whether one more reason would be listed.
    pub(super) fn has_room(&self) -> bool {
        self.reasons.len() < MAX_REASONS
    }

    /// Whether there is nothing to tell the sender.
    pub fn is_empty(&self) -> bool {
        self.count == 0 && self.reasons.is_empty()
    }

    /// The reasons as one line.
    pub fn message(&self) -> String {
        self.reasons.join("; ")
    }
}
