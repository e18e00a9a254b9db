//! The summary of a whole trace: from columns where they tell enough, else from spans.

pub(crate) mod from_columns;
pub(crate) mod from_spans;
