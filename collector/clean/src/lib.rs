//! Rules that clean spans between decoding and storing: they drop, keep a share of the traces, set, rename, remove, hash,
//! redact and cut, fold names and name services.
//!
//! A rule is written in YAML or JSON and compiled once ([`RuleSet::parse`]); the rules of a moment are applied to each
//! decoded request, whatever protocol it came by ([`RuleSet::apply`]). `docs/cleaning.md` says what each rule does.
//!
//! This crate sees no connection, no queue and no store. It counts what rules match, drop and change; receivers answer.
//!
//! # Metrics
//!
//! | name | kind | |
//! | --- | --- | --- |
//! | `spandrel_clean_matched_spans_total{rule}` | counter | spans that satisfied the condition of a rule |
//! | `spandrel_clean_dropped_spans_total{rule}`, `spandrel_clean_dropped_bytes_total{rule}` | counter | of these, the ones that it dropped, and their bytes |
//! | `spandrel_clean_changed_spans_total{rule}` | counter | of these, the ones that it changed |
#![warn(missing_docs)]

mod bind;
mod cleaner;
mod condition;
mod counts;
mod edits;
mod engine;
mod facts;
mod logs;
mod parse;
mod rules;
mod selector;
mod set_value;
mod texts;
mod value;

pub use cleaner::{Cleaner, Origin};
pub use counts::{Done, Registry};
pub use engine::{Seen, Tally, Watch};
pub use parse::{FindKey, MAX_RULES, MAX_TEXT_BYTES, RuleError};
pub use rules::{RuleReport, RuleSet};
pub use texts::HashKey;
