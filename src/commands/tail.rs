//! `spandrel tail`: traces that match, as their spans arrive.

use std::error::Error;
use std::io::{BufRead, BufReader};

use clap::Args;
use spandrel_query::answers::{LiveNotice, LiveTrace};

use super::client::{Client, ServerFlag};
use super::output::{self, Format, plain};

/// The arguments of `spandrel tail`.
#[derive(Debug, Args)]
pub(crate) struct TailFlags {
    /// A TraceQL query that finds traces, as in '{ failed }'
    #[arg(default_value = "{ }")]
    query: String,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format; json gives one object a line
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(flags: TailFlags) -> Result<(), Box<dyn Error>> {
    let parameters = [("q", Some(flags.query.as_str()))];
    let answer = Client::new(&flags.server)?.get("/api/v1/traces/live", &parameters)?;
    let (mut event, mut lines) = (String::new(), BufReader::new(answer.reader()).lines());
    output::print(|out| {
        while let Some(line) = lines.next().transpose()? {
            if let Some(name) = line.strip_prefix("event: ") {
                event = name.to_owned();
            } else if let Some(data) = line.strip_prefix("data: ") {
                match (event.as_str(), flags.format) {
                    ("trace", Format::Json) => writeln!(out, "{data}")?,
                    ("trace", Format::Text) => writeln!(out, "{}", text(&serde_json::from_str(data)?))?,
                    (_, _) => eprintln!("{}", serde_json::from_str::<LiveNotice>(data)?.detail),
                }
                out.flush()?;
            }
        }
        Ok(())
    })
}

fn text(trace: &LiveTrace) -> String {
    format!(
        "{:<24}  {:>9}  {:>6} spans  {:>4} matched  {:<32}  {}: {}",
        output::time(&trace.start_unix_nano),
        output::duration(trace.duration_nano),
        trace.span_count,
        trace.matched_span_count,
        trace.id,
        plain(&trace.root_service),
        plain(&trace.root_name),
    )
}
