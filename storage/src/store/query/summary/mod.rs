//! The summary of a whole trace: from columns if they suffice, else from spans.

pub(crate) mod from_columns;
pub(crate) mod from_spans;
