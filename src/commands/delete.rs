//! `spandrel delete`: deletes traces from a running server for good.

use std::error::Error;

use clap::Args;
use spandrel_query::answers::{DeleteRequest, DeletionDto, DeletionResponse, DeletionState};
use ureq::http::Method;

use super::client::{Client, ServerFlag};
use super::output::{self, Format, count};

/// The arguments of `spandrel delete`.
#[derive(Debug, Args)]
pub(crate) struct DeleteFlags {
    /// A TraceQL selector, as in '{ span.user.id = "42" }'; every trace with a matching span is deleted as a whole
    query: String,
    /// Only traces with a matching span that starts at this time or later [default: no bound]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Only traces with a matching span that starts before this time [default: no bound]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Return only when no file of the server contains the spans any more
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    server: ServerFlag,
    /// Output format
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(crate) fn run(flags: DeleteFlags) -> Result<(), Box<dyn Error>> {
    let request = DeleteRequest { q: flags.query, start: flags.start, end: flags.end, wait: flags.wait };
    let client = Client::new(&flags.server)?;
    let answer = client.send(Method::POST, "/api/v1/delete", &[], Some(serde_json::to_vec(&request)?))?;
    if flags.format == Format::Json {
        return output::pass_through(answer);
    }
    let DeletionResponse { deletion } = answer.json()?;
    let lines = lines(&deletion);
    output::print(|out| Ok(lines.iter().try_for_each(|line| writeln!(out, "{line}"))?))
}

fn lines(deletion: &DeletionDto) -> Vec<String> {
    let DeletionDto { id, trace_count, span_count, damaged_block_count, .. } = deletion;
    let traces = count(*trace_count);
    let mut lines = vec![match deletion.state {
        DeletionState::Done => format!("deleted {traces} traces, {} spans", count(*span_count)),
        DeletionState::Running => format!(
            "{traces} traces are hidden and being deleted; GET /api/v1/deletions/{id} tells how far it is"
        ),
    }];
    if *damaged_block_count > 0 {
        let blocks = count(*damaged_block_count);
        lines.push(format!(
            "{blocks} blocks are damaged and may hold more of it; `spandrel check` names them"
        ));
    }
    for backup in &deletion.backups {
        let taken = output::time(&backup.taken_unix_nano);
        lines.push(format!("still in backup {} of {taken}", backup.id));
    }
    if deletion.damaged_store_kept {
        lines.push(
            "perhaps still in store.damaged, the damaged store that a repair has replaced: remove that folder from \
             the data directory"
                .to_owned(),
        );
    }
    lines
}
