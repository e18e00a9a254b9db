//! `spandrel search`: lists traces that match a TraceQL query, one a line, with their span sets below.

use std::error::Error;

use clap::Args;
use serde_json::{Map, Value};
use spandrel_query::answers::{FoundSpan, SearchAnswer, SpanSet, TraceSummary};

use super::client::{Client, ServerFlag};
use super::output::{self, Format, plain};

/// The arguments of `spandrel search`.
#[derive(Debug, Args)]
pub(crate) struct SearchFlags {
    /// A TraceQL query, as in '{ resource.service.name = "cart" && duration > 100ms }' or '{ failed } | count() > 2'
    #[arg(default_value = "{ }")]
    query: String,
    /// Beginning of the range: RFC 3339, now-2h, Unix seconds or nanoseconds [default: now-1h]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// End of the range [default: no bound]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// The most traces to list
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Show spans of each span set, also of a query that is one filter [default: 3 with a pipeline]
    #[arg(long, value_name = "COUNT")]
    spans: Option<u32>,
    /// Sort order: newest, oldest, longest, shortest, mostSpans or mostErrors first [default: newest]
    #[arg(long, value_name = "ORDER")]
    order: Option<String>,
    /// Continue after a page: nextCursor of its JSON response
    #[arg(long)]
    cursor: Option<String>,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(flags: SearchFlags) -> Result<(), Box<dyn Error>> {
    let limit = flags.limit.to_string();
    let spans = flags.spans.map(|spans| spans.to_string());
    let parameters = [
        ("q", Some(flags.query.as_str())),
        ("start", flags.start.as_deref()),
        ("end", flags.end.as_deref()),
        ("limit", Some(limit.as_str())),
        ("order", flags.order.as_deref()),
        ("spss", spans.as_deref()),
        ("cursor", flags.cursor.as_deref()),
    ];
    let answer = Client::new(&flags.server)?.get("/api/v1/traces", &parameters)?;
    if flags.format == Format::Json {
        return output::pass_through(answer);
    }
    let page: SearchAnswer = answer.json()?;
    output::print(|out| {
        if !page.traces.is_empty() {
            let titles = ("START", "DURATION", "SPANS", "ERRORS", "TRACE");
            let (start, duration, spans, errors, trace) = titles;
            writeln!(out, "{start:<24}  {duration:>9}  {spans:>7}  {errors:>6}  {trace:<32}  ROOT")?;
        }
        for trace in &page.traces {
            writeln!(out, "{}", line(trace))?;
            for set in trace.span_sets.iter().flatten() {
                writeln!(out, "  {}", set_line(set))?;
                set.spans.iter().try_for_each(|span| writeln!(out, "    {}", span_line(span)))?;
            }
        }
        Ok(())
    })?;
    hints(&page).iter().for_each(|hint| eprintln!("{hint}"));
    Ok(())
}

fn line(trace: &TraceSummary) -> String {
    let error = trace.error_code.as_deref().map(|code| format!("  {}", plain(code))).unwrap_or_default();
    format!(
        "{:<24}  {:>9}  {:>7}  {:>6}  {:<32}  {}: {}{error}",
        output::time(&trace.start_unix_nano),
        output::duration(trace.duration_nano),
        trace.span_count,
        trace.error_count,
        trace.id,
        plain(trace.root_service.as_deref().unwrap_or("unknown service")),
        plain(&trace.root_name),
    )
}

fn set_line(set: &SpanSet) -> String {
    let spans = match set.matched_span_count {
        1 => "1 span".to_owned(),
        count => format!("{count} spans"),
    };
    [spans, values(&set.by), values(&set.values)]
        .into_iter()
        .filter(|text| !text.is_empty())
        .collect::<Vec<_>>()
        .join("  ")
}

fn span_line(span: &FoundSpan) -> String {
    let duration = output::duration(span.duration_nano);
    format!("{} {:>9}  {}  {}", span.id, duration, plain(&span.name), values(&span.attributes))
}

fn values(values: &Map<String, Value>) -> String {
    let value = |(name, value): (&String, &Value)| match value {
        Value::String(text) => format!("{}={}", plain(name), plain(text)),
        Value::Null => format!("{}=nil", plain(name)),
        other => format!("{}={other}", plain(name)),
    };
    values.iter().map(value).collect::<Vec<_>>().join(" ")
}

/// Hints below the results.
fn hints(page: &SearchAnswer) -> Vec<&'static str> {
    let mut hints = Vec::new();
    if page.traces.is_empty() {
        hints.push("no trace matches in this range; look further back with --start, as in now-24h");
    }
    if page.next_cursor.is_some() {
        hints.push("there are more; raise --limit, or take all of them with `spandrel export`");
    }
    if page.partial {
        hints.push("the answer is partial: not everything in the range could be looked at");
    }
    hints
}
