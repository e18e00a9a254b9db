//! What rules would do, as text for people.

use std::error::Error;
use std::io::Write;

use super::super::output::{self, count, plain};
use super::counted;
use super::report::{Attempt, RuleAttempt};
use super::samples::Sample;

/// Characters of a value that are shown.
const SHOWN: usize = 60;

pub(super) fn write(out: &mut dyn Write, attempt: &Attempt) -> Result<(), Box<dyn Error>> {
    let Attempt { traces, spans, bytes, .. } = attempt;
    let more = if attempt.cut { "; there are more, see --spans" } else { "" };
    let (all, traces) = (counted(*spans, "span"), counted(*traces, "trace"));
    writeln!(out, "looked at {all} of {traces}, {}{more}", output::bytes(*bytes))?;
    if attempt.skipped_traces > 0 {
        writeln!(out, "left out {}, too long to be tried here", counted(attempt.skipped_traces, "trace"))?;
    }
    if attempt.other_key {
        writeln!(out, "hashes are made with another key: that of the server is not known here")?;
    }
    let dropped = share(attempt.dropped_spans as f64, *spans);
    let saved = share(attempt.saved_bytes as f64, *bytes);
    writeln!(
        out,
        "all rules: {} dropped ({dropped}), {} saved ({saved}); nothing was changed\n",
        counted(attempt.dropped_spans, "span"),
        signed_bytes(attempt.saved_bytes)
    )?;
    attempt.rules.iter().try_for_each(|rule| write_rule(out, rule, *bytes))
}

fn write_rule(out: &mut dyn Write, rule: &RuleAttempt, bytes: u64) -> Result<(), Box<dyn Error>> {
    writeln!(
        out,
        "{}: matched {}, dropped {}, changed {}, saved {} ({})",
        plain(&rule.name),
        count(rule.matched_spans),
        count(rule.dropped_spans),
        count(rule.changed_spans),
        signed_bytes(rule.saved_bytes),
        share(rule.saved_bytes as f64, bytes)
    )?;
    rule.samples.iter().try_for_each(|sample| write_sample(out, sample))
}

fn write_sample(out: &mut dyn Write, sample: &Sample) -> Result<(), Box<dyn Error>> {
    let Sample { trace_id, span_id, service, name, after, .. } = sample;
    let what = if after.is_none() { "drops" } else { "changes" };
    let place = format!("trace {trace_id}, span {span_id}");
    writeln!(out, "  {what} {} / {}  ({place})", plain(service), plain(name))?;
    for (field, before, after) in sample.differences() {
        let shown = |value: Option<&str>| value.map_or("(none)".to_owned(), shortened);
        writeln!(out, "    {}: {} -> {}", plain(field), shown(before), shown(after))?;
    }
    Ok(())
}

fn shortened(value: &str) -> String {
    let mut short: String = value.chars().take(SHOWN).collect();
    if short.len() < value.len() {
        short.push('…');
    }
    plain(&short).into_owned()
}

fn signed_bytes(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "" };
    format!("{sign}{}", output::bytes(bytes.unsigned_abs()))
}

fn share(part: f64, whole: u64) -> String {
    if whole == 0 { "0 %".to_owned() } else { format!("{:.1} %", 100.0 * part / whole as f64) }
}
