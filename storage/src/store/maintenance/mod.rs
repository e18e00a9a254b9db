//! Background work: what is due is done in rounds, and what fails is tried again.

pub(crate) mod backoff;
