//! `spandrel trace`: one trace as a tree on the terminal.

use std::collections::HashMap;
use std::error::Error;
use std::io::Write;

use clap::{Args, ValueEnum};
use serde::de::IgnoredAny;
use spandrel_query::answers::{self, TraceAnswer};

use super::client::{Client, ServerFlag, escape};
use super::output::{self, duration, plain};

/// The arguments of `spandrel trace`.
#[derive(Debug, Args)]
pub(crate) struct TraceFlags {
    /// The trace: 1 to 32 hex digits
    id: String,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: TraceFormat,
}

/// The output format of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TraceFormat {
    /// For people
    Text,
    /// The tree as in the response of the server's API
    Json,
    /// OTLP JSON, without any loss
    Otlp,
}

/// A tree without attributes, which this output does not show.
type Trace = answers::Trace<IgnoredAny>;
type Span = answers::Span<IgnoredAny>;

pub(crate) fn run(flags: TraceFlags) -> Result<(), Box<dyn Error>> {
    let format = (flags.format == TraceFormat::Otlp).then_some("otlp");
    let path = format!("/api/v1/traces/{}", escape(&flags.id));
    let answer = Client::new(&flags.server)?.get(&path, &[("format", format)])?;
    if flags.format != TraceFormat::Text {
        return output::pass_through(answer);
    }
    let TraceAnswer { trace } = answer.json()?;
    output::print(|out| print_tree(&trace, out))
}

fn print_tree(trace: &Trace, out: &mut dyn Write) -> Result<(), Box<dyn Error>> {
    let service = trace.root_service.as_deref().unwrap_or("unknown service");
    writeln!(out, "{}  {}: {}", trace.id, plain(service), plain(&trace.root_name))?;
    let (time, took) = (output::time(&trace.start_unix_nano), duration(trace.duration_nano));
    let (spans, errors) = (output::count(trace.span_count), output::count(trace.error_count));
    writeln!(out, "{time}, {took}, {spans} spans, {errors} failed")?;
    trace.warnings.iter().try_for_each(|warning| writeln!(out, "! {}", plain(warning)))?;
    // The depths of the spans that are printed already.
    let mut depths: HashMap<&str, usize> = HashMap::new();
    for segment in &trace.segments {
        let above = segment.parent_span_id.as_deref().and_then(|id| depths.get(id));
        let base = above.map_or(0, |depth| depth + 1);
        let instance = segment.instance.as_deref().map(|name| format!(" ({})", plain(name)));
        let margin = "  ".repeat(base);
        writeln!(out, "\n{:21}{margin}{}{}", "", plain(&segment.service), instance.unwrap_or_default())?;
        for span in &segment.spans {
            let above = span.parent_id.as_deref().and_then(|id| depths.get(id));
            let depth = above.map_or(base, |depth| depth + 1).max(base);
            depths.entry(&span.id).or_insert(depth);
            writeln!(out, "{}", line(trace, span, depth))?;
        }
    }
    if trace.truncated {
        eprintln!("these are the first spans of many; --format otlp gives all of them");
    }
    Ok(())
}

fn line(trace: &Trace, span: &Span, depth: usize) -> String {
    let nanos = |text: &str| text.parse::<u64>().unwrap_or_default();
    let offset = nanos(&span.start_unix_nano).saturating_sub(nanos(&trace.start_unix_nano));
    let mut line = format!(
        "{:>9} {:>9}  {}{}",
        format!("+{}", duration(offset)),
        duration(span.duration_nano),
        "  ".repeat(depth),
        plain(&span.name)
    );
    if span.kind != "INTERNAL" && span.kind != "UNSPECIFIED" {
        line += &format!("  {}", span.kind.to_lowercase());
    }
    match &span.error_code {
        Some(code) => line += &format!("  ERROR {}", plain(code)),
        None if span.status == "ERROR" => line += "  ERROR",
        None => {}
    }
    span.warnings.iter().for_each(|warning| line += &format!("  ! {}", plain(warning)));
    line
}
