//! `spandrel stats`: the size and the state of the store.

use std::error::Error;

use clap::Args;
use spandrel_query::answers::Status;

use super::client::{Client, ServerFlag};
use super::output::{self, Format, count};

/// The arguments of `spandrel stats`.
#[derive(Debug, Args)]
pub(crate) struct StatsFlags {
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(flags: StatsFlags) -> Result<(), Box<dyn Error>> {
    let answer = Client::new(&flags.server)?.get("/api/v1/status", &[])?;
    if flags.format == Format::Json {
        return output::pass_through(answer);
    }
    let lines = lines(&answer.json()?);
    output::print(|out| Ok(lines.iter().try_for_each(|(name, value)| writeln!(out, "{name:<14}{value}"))?))
}

fn lines(status: &Status) -> Vec<(&'static str, String)> {
    let each = status.store_bytes as f64 / status.span_count.max(1) as f64;
    let mut lines = vec![
        ("version", status.version.clone()),
        ("spans", count(status.span_count)),
        ("traces", format!("about {}", count(status.trace_count))),
        ("on disk", format!("{}, {each:.1} bytes a span", output::bytes(status.store_bytes))),
        ("arriving", format!("{:.0} spans a second", status.ingest_spans_per_second)),
        (
            "to be merged",
            format!(
                "{} spans in {} blocks",
                count(status.unsealed_span_count),
                count(status.fresh_block_count)
            ),
        ),
    ];
    if status.log_row_count > 0 {
        lines.insert(3, ("logs", format!("{} rows", count(status.log_row_count))));
    }
    let time = |nanos: u64| output::duration(nanos);
    for delay in &status.ingest_delays {
        let (half, most) = (time(delay.p50_nano), time(delay.p99_nano));
        lines.push(("delay", format!("{half} for half of the spans by {}, {most} for 99 %", delay.receiver)));
    }
    for reader in &status.topic_readers {
        let (lag, topics) = (count(reader.lag), reader.topics.join(", "));
        let why = reader.reason.as_ref().map_or(String::new(), |reason| format!(": {reason}"));
        lines.push((
            "kafka",
            format!("{topics} by {}: {lag} messages left, {}{why}", reader.group, reader.state),
        ));
    }
    if let (Some(oldest), Some(newest)) = (&status.oldest_unix_nano, &status.newest_unix_nano) {
        lines.push(("oldest start", output::time(oldest)));
        lines.push(("newest start", output::time(newest)));
    }
    if status.damaged_block_count > 0 {
        let blocks = count(status.damaged_block_count);
        lines.push(("damaged", format!("{blocks} blocks, set aside; `spandrel check` names them")));
    }
    lines
}
