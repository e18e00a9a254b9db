//! `spandrel noise`: what takes the room of stored spans, what of it is noise, and the rules that would remove it.

use std::error::Error;
use std::io::{self, IsTerminal as _, Write};

use clap::{Args, ValueEnum};
use spandrel_query::answers::{NoiseAnswer, NoiseFinding};

use super::client::{Client, ServerFlag};
use super::output::{self, bytes, count, plain};

/// The arguments of `spandrel noise`.
#[derive(Debug, Args)]
pub(crate) struct NoiseFlags {
    /// Beginning of the range: RFC 3339, now-2h, Unix seconds or nanoseconds [default: now-1h]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// End of the range [default: no bound]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Only traces with a span that matches this TraceQL selector [default: all]
    #[arg(long, value_name = "TRACEQL")]
    query: Option<String>,
    /// Spans to look at [default: 200000]
    #[arg(long, value_name = "COUNT")]
    spans: Option<u64>,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: NoiseFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NoiseFormat {
    /// For people
    Text,
    /// The response of the server's API, unchanged
    Json,
    /// The rules alone, as a list for `spandrel clean --try` and `spandrel clean set`
    Yaml,
}

/// Rows of each table.
const ROWS: usize = 10;
/// Characters of a full bar.
const BAR: usize = 24;

pub(crate) fn run(flags: NoiseFlags) -> Result<(), Box<dyn Error>> {
    let spans = flags.spans.map(|spans| spans.to_string());
    let parameters = [
        ("q", flags.query.as_deref()),
        ("spans", spans.as_deref()),
        ("start", flags.start.as_deref()),
        ("end", flags.end.as_deref()),
    ];
    let answer = Client::new(&flags.server)?.get("/api/v1/noise", &parameters)?;
    match flags.format {
        NoiseFormat::Json => output::pass_through(answer),
        NoiseFormat::Yaml => {
            let report: NoiseAnswer = answer.json()?;
            output::print(|out| write_rules(out, &report))
        }
        NoiseFormat::Text => {
            let report: NoiseAnswer = answer.json()?;
            let bar = if io::stdout().is_terminal() { bar } else { no_bar };
            output::print(|out| write(out, &report, bar))
        }
    }
}

/// A bar for a share.
type Bar = fn(f64) -> String;

fn bar(share: f64) -> String {
    let eighths = (share * (BAR * 8) as f64).round() as usize;
    let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
    let drawn = "█".repeat(eighths / 8) + rest;
    let missing = BAR.saturating_sub(drawn.chars().count());
    format!("{drawn}{} ", " ".repeat(missing))
}

fn no_bar(_: f64) -> String {
    String::new()
}

fn write(out: &mut dyn Write, report: &NoiseAnswer, bar: Bar) -> Result<(), Box<dyn Error>> {
    writeln!(
        out,
        "looked at {} spans of {} traces, {} in OTLP{}",
        count(report.span_count),
        count(report.trace_count),
        bytes(report.bytes),
        if report.sampled { "; there are more, see --spans" } else { "" }
    )?;
    if let Some(reason) = &report.partial_reason {
        writeln!(out, "something was left out: {reason}")?;
    }
    let row = |out: &mut dyn Write, share: f64, size: u64, spans: u64, name: String| {
        let (percent, spans) = (100.0 * share, count(spans));
        writeln!(out, "  {}{percent:5.1} %  {:>11}  {spans:>11}  {name}", bar(share), bytes(size))
    };
    writeln!(out, "\nservices (share, bytes, spans)")?;
    for one in report.services.iter().take(ROWS) {
        row(out, one.byte_share, one.bytes, one.span_count, plain(&one.service).into_owned())?;
    }
    writeln!(out, "\noperations (share, bytes, spans)")?;
    for one in report.operations.iter().take(ROWS) {
        let name = format!("{} / {}  {}", plain(&one.service), plain(&one.name), one.kind);
        row(out, one.byte_share, one.bytes, one.span_count, name)?;
    }
    writeln!(out, "\nattributes (share, bytes, values)")?;
    for one in report.attributes.iter().take(ROWS) {
        row(out, one.byte_share, one.bytes, one.span_count, plain(&one.name).into_owned())?;
    }
    writeln!(out)?;
    if report.findings.is_empty() {
        writeln!(out, "no noise was found")?;
    }
    report.findings.iter().try_for_each(|finding| write_finding(out, finding, bar))?;
    if report.more_findings > 0 {
        writeln!(out, "{} more findings are left out", count(report.more_findings))?;
    }
    Ok(())
}

fn write_finding(out: &mut dyn Write, finding: &NoiseFinding, bar: Bar) -> Result<(), Box<dyn Error>> {
    let NoiseFinding { kind, service, subject, reason, count: about, saved_spans, saved_bytes, .. } = finding;
    writeln!(out, "{kind}: {} / {}  ({})", plain(service), plain(subject), count(*about))?;
    writeln!(out, "  {}", plain(reason))?;
    if *saved_bytes > 0 {
        let (share, size) = (finding.byte_share, bytes(*saved_bytes));
        let spans = if *saved_spans > 0 { format!(", {} spans", count(*saved_spans)) } else { String::new() };
        writeln!(out, "  {}saves {:.1} %: {size}{spans}", bar(share), 100.0 * share)?;
    }
    for line in finding.rule.lines() {
        writeln!(out, "    {}", plain(line))?;
    }
    Ok(writeln!(out)?)
}

fn write_rules(out: &mut dyn Write, report: &NoiseAnswer) -> Result<(), Box<dyn Error>> {
    if report.findings.is_empty() {
        writeln!(out, "[]")?;
    }
    for finding in &report.findings {
        let saved = bytes(finding.saved_bytes);
        write!(out, "# {}; saves {saved}\n{}", plain(&finding.reason), finding.rule)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_their_share() {
        let drawn = |share: f64| bar(share).trim_end().chars().count();
        assert_eq!([0.0, 0.5, 1.0].map(drawn), [0, 12, 24]);
        assert_eq!(bar(0.01).chars().count(), BAR + 1);
    }
}
