//! `spandrel clean --try RULES`: what rules would do to spans that are stored, with the engine that would do it. Nothing
//! is changed.
//!
//! Traces are exported one after the other, so one trace is in memory, and those beyond a bound are skipped.

use std::convert::Infallible;
use std::error::Error;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use spandrel_clean::{HashKey, Registry, RuleSet, Seen, Watch};
use spandrel_proto::TenantId;
use spandrel_proto::otlp::{DecodeLimits, Decoded, decode_json_request};

use super::super::client::{Client, ServerFlag};
use super::super::output::{self, Format};
use super::report::{Attempt, RuleAttempt};
use super::{attempt_text, read, samples::Sample};
use crate::clean_flags;

/// The arguments of `spandrel clean try`, which are those of `spandrel clean --try RULES`, too.
#[derive(Debug, Args)]
pub(super) struct TryOptions {
    /// Beginning of the range: RFC 3339, now-2h, Unix seconds or nanoseconds [default: now-1h]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// End of the range [default: no bound]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Only traces with a span that matches this TraceQL selector [default: all]
    #[arg(long, value_name = "TRACEQL")]
    query: Option<String>,
    /// Stop after so many spans; the answer says when there were more
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1..))]
    spans: u64,
    /// Samples of each rule
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u64).range(..=100))]
    samples: u64,
    /// Whose spans they are, for rules with `tenants`
    #[arg(long, value_name = "TENANT", default_value = "default")]
    tenant: String,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

/// Adds up while rules are applied.
struct Watcher {
    saved: Vec<i64>,
    samples: Vec<Vec<Sample>>,
    /// Spans of each rule that were looked at for samples.
    looked: Vec<usize>,
    wanted: usize,
}

/// A line of an export is one trace; a longer one is skipped.
const MAX_TRACE_BYTES: u64 = 64 << 20;
/// Spans of a rule that are looked at for samples of different operations: each is written as JSON for it.
const MAX_LOOKED: usize = 1_000;

/// Tries rules.
pub(super) fn run(rules: &Path, options: &TryOptions) -> Result<(), Box<dyn Error>> {
    let text = read(rules)?;
    let mut other_key = false;
    let set = parse(&text, &mut other_key).map_err(|error| format!("{}: {error}", rules.display()))?;
    let tenant = TenantId::new(&options.tenant).map_err(|error| format!("--tenant: {error}"))?;
    let parameters = [
        ("format", Some("otlp")),
        ("q", options.query.as_deref()),
        ("start", Some(options.start.as_deref().unwrap_or("now-1h"))),
        ("end", options.end.as_deref()),
    ];
    let answer = Client::new(&options.server)?.get("/api/v1/export", &parameters)?;
    let attempt = attempt(answer.reader(), &set, &tenant, options)?;
    let attempt = Attempt { other_key, ..attempt };
    output::print(|out| match options.format {
        Format::Json => Ok(writeln!(out, "{}", serde_json::to_string_pretty(&attempt)?)?),
        Format::Text => attempt_text::write(out, &attempt),
    })
}

/// Where a key is not known here, hashes look like those of another.
fn parse(text: &str, other_key: &mut bool) -> Result<Arc<RuleSet>, Box<dyn Error>> {
    let missing = std::cell::Cell::new(false);
    let find = |name: Option<&str>| {
        clean_flags::hash_key(name).or_else(|_| {
            missing.set(true);
            HashKey::new(&[0; HashKey::MIN_BYTES])
        })
    };
    let rules = RuleSet::parse(text, &find, &Registry::default())?;
    *other_key = missing.get();
    Ok(Arc::new(rules))
}

fn attempt(
    from: impl Read,
    rules: &Arc<RuleSet>,
    tenant: &TenantId,
    options: &TryOptions,
) -> Result<Attempt, Box<dyn Error>> {
    let names: Vec<String> = rules.reports().map(|report| report.name.to_owned()).collect();
    let count = names.len();
    let mut attempt = Attempt {
        cut: false,
        skipped_traces: 0,
        traces: 0,
        spans: 0,
        bytes: 0,
        dropped_spans: 0,
        saved_bytes: 0,
        other_key: false,
        rules: names.into_iter().map(RuleAttempt::new).collect(),
    };
    let mut watcher = Watcher {
        saved: vec![0; count],
        samples: std::iter::repeat_with(Vec::new).take(count).collect(),
        looked: vec![0; count],
        wanted: options.samples as usize,
    };
    let mut from = BufReader::new(from);
    while let Some(line) = next_line(&mut from)? {
        let Some(line) = line else {
            attempt.skipped_traces += 1;
            continue;
        };
        if attempt.spans >= options.spans {
            attempt.cut = true;
            break;
        }
        let mut trace = decode_json_request(&mut &*line, &DecodeLimits::default())?;
        attempt.cut |= shorten(&mut trace, options.spans - attempt.spans);
        attempt.add(&mut trace, rules, tenant, &mut watcher);
        if attempt.cut {
            break;
        }
    }
    for ((rule, saved), samples) in attempt.rules.iter_mut().zip(watcher.saved).zip(watcher.samples) {
        (rule.saved_bytes, rule.samples) = (saved, samples);
    }
    Ok(attempt)
}

/// The next line that is not empty: `Some(None)` for one that is too long.
fn next_line(from: &mut impl std::io::BufRead) -> Result<Option<Option<Vec<u8>>>, Box<dyn Error>> {
    loop {
        let mut line = Vec::new();
        let read = from.by_ref().take(MAX_TRACE_BYTES).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(None);
        }
        if line.last() != Some(&b'\n') && read as u64 == MAX_TRACE_BYTES {
            drop(line);
            from.skip_until(b'\n')?;
            return Ok(Some(None));
        }
        if !line.trim_ascii().is_empty() {
            return Ok(Some(Some(line)));
        }
    }
}

/// Leaves out the spans beyond a number; whether there were some.
fn shorten(trace: &mut Decoded, most: u64) -> bool {
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let is_longer = trace.spans.len() > most;
    trace.spans.truncate(most);
    is_longer
}

// === impl Attempt ===

impl Attempt {
    fn add(&mut self, trace: &mut Decoded, rules: &Arc<RuleSet>, tenant: &TenantId, watcher: &mut Watcher) {
        let bytes = |trace: &Decoded| trace.spans.iter().map(|span| span.at.len() as u64).sum::<u64>();
        let before = bytes(trace);
        self.traces += 1;
        self.spans += trace.spans.len() as u64;
        self.bytes += before;
        let applied = rules.apply_watched(trace, tenant, |_| Ok::<_, Infallible>(()), watcher);
        let tally = match applied {
            Ok(tally) => tally,
            Err(never) => match never {},
        };
        self.dropped_spans += tally.dropped();
        self.saved_bytes += before as i64 - bytes(trace) as i64;
        for (rule, done) in self.rules.iter_mut().zip(tally.done()) {
            rule.matched_spans += done.matched;
            rule.dropped_spans += done.dropped;
            rule.changed_spans += done.changed;
        }
    }
}

// === impl Watcher ===

impl Watch for Watcher {
    fn step(&mut self, rule: usize, before: Seen<'_>, after: Option<Seen<'_>>) {
        self.saved[rule] += before.span.len() as i64 - after.map_or(0, |after| after.span.len() as i64);
        let samples = &mut self.samples[rule];
        // Of a name one sample is enough, as long as there are others.
        self.looked[rule] += 1;
        if samples.len() < self.wanted
            && self.looked[rule] <= MAX_LOOKED
            && let Some(sample) = Sample::of(before, after)
            && !samples.iter().any(|known| known.is_like(&sample))
        {
            samples.push(sample);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_are_too_long_are_skipped_and_counted() {
        let long = vec![b'x'; MAX_TRACE_BYTES as usize + 5];
        let text = [&b"{}\n\n"[..], &long, b"\n{\"a\":1}"].concat();
        let mut from = BufReader::new(&*text);
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut from).unwrap() {
            lines.push(line.map(|line| String::from_utf8(line).unwrap()));
        }
        assert_eq!(lines, [Some("{}\n".to_owned()), None, Some("{\"a\":1}".to_owned())]);
    }
}
