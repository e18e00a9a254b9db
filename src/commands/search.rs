//! `spandrel search`: traces of which a span matches, one a line.

use std::error::Error;

use clap::Args;
use serde::Deserialize;

use super::client::{Client, ServerFlag};
use super::show::{self, Format, plain};

/// What `spandrel search` can be given.
#[derive(Debug, Args)]
pub(crate) struct SearchFlags {
    /// A TraceQL selector, as in '{ resource.service.name = "cart" && duration > 100ms }'
    #[arg(default_value = "{ }")]
    query: String,
    /// Where the range begins: RFC 3339, now-2h, Unix seconds or nanoseconds [default: now-1h]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Where the range ends [default: it does not]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Traces at the most
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Which come first: newest, oldest, longest, shortest, mostSpans, mostErrors [default: newest]
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// Go on behind this place: nextCursor of the JSON answer before
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    server: ServerFlag,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page {
    traces: Vec<Trace>,
    next_cursor: Option<String>,
    partial: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Trace {
    id: String,
    root_service: String,
    root_name: String,
    start_unix_nano: String,
    duration_nano: u64,
    span_count: u64,
    error_count: u64,
    error_code: Option<String>,
}

pub(crate) fn run(flags: SearchFlags) -> Result<(), Box<dyn Error>> {
    let limit = flags.limit.to_string();
    let parameters = [
        ("q", Some(flags.query.as_str())),
        ("start", flags.start.as_deref()),
        ("end", flags.end.as_deref()),
        ("limit", Some(limit.as_str())),
        ("order", flags.order.as_deref()),
        ("cursor", flags.cursor.as_deref()),
    ];
    let answer = Client::new(&flags.server)?.get("/api/v1/traces", &parameters)?;
    if flags.format == Format::Json {
        return show::pass_through(answer);
    }
    let page: Page = answer.json()?;
    show::print(|out| {
        if !page.traces.is_empty() {
            let titles = ("START", "DURATION", "SPANS", "ERRORS", "TRACE");
            let (start, duration, spans, errors, trace) = titles;
            writeln!(out, "{start:<24}  {duration:>9}  {spans:>7}  {errors:>6}  {trace:<32}  ROOT")?;
        }
        Ok(page.traces.iter().try_for_each(|trace| writeln!(out, "{}", line(trace)))?)
    })?;
    page.hints().iter().for_each(|hint| eprintln!("{hint}"));
    Ok(())
}

fn line(trace: &Trace) -> String {
    let error = trace.error_code.as_deref().map(|code| format!("  {}", plain(code))).unwrap_or_default();
    format!(
        "{:<24}  {:>9}  {:>7}  {:>6}  {:<32}  {}: {}{error}",
        show::time(&trace.start_unix_nano),
        show::duration(trace.duration_nano),
        trace.span_count,
        trace.error_count,
        trace.id,
        plain(&trace.root_service),
        plain(&trace.root_name),
    )
}

// === impl Page ===

impl Page {
    /// What is to be known about the answer as a whole.
    fn hints(&self) -> Vec<&'static str> {
        let mut hints = Vec::new();
        if self.traces.is_empty() {
            hints.push("no trace matches in this range; look further back with --start, as in now-24h");
        }
        if self.next_cursor.is_some() {
            hints.push("there are more; raise --limit, or take all of them with `spandrel export`");
        }
        if self.partial {
            hints.push("the answer is partial: not everything in the range could be looked at");
        }
        hints
    }
}
