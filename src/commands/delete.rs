//! `spandrel delete`: takes traces out of a running server for good.

use std::error::Error;

use clap::Args;
use serde::Deserialize;
use serde_json::json;
use ureq::http::Method;

use super::client::{Client, ServerFlag};
use super::show::{self, Format, count};

/// What `spandrel delete` can be given.
#[derive(Debug, Args)]
pub(crate) struct DeleteFlags {
    /// A TraceQL selector, as in '{ span.user.id = "42" }'; every trace with a matching span goes, whole
    query: String,
    /// Only traces with a matching span that starts here or later [default: since ever]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Only traces with a matching span that starts before [default: no bound]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Come back only when no file of the server holds the spans any more
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    server: ServerFlag,
    /// How the answer is printed
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

#[derive(Deserialize)]
struct Answer {
    deletion: Deletion,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Deletion {
    id: String,
    state: String,
    trace_count: u64,
    span_count: u64,
    damaged_block_count: u64,
    backups: Vec<Backup>,
    /// Older servers do not say.
    #[serde(default)]
    damaged_store_kept: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Backup {
    id: String,
    taken_unix_nano: String,
}

pub(crate) fn run(flags: DeleteFlags) -> Result<(), Box<dyn Error>> {
    let question =
        json!({ "q": flags.query, "start": flags.start, "end": flags.end, "wait": flags.wait }).to_string();
    let client = Client::new(&flags.server)?;
    let answer = client.send(Method::POST, "/api/v1/delete", &[], Some(question.into_bytes()))?;
    if flags.format == Format::Json {
        return show::pass_through(answer);
    }
    let Answer { deletion } = answer.json()?;
    let lines = lines(&deletion);
    show::print(|out| Ok(lines.iter().try_for_each(|line| writeln!(out, "{line}"))?))
}

fn lines(deletion: &Deletion) -> Vec<String> {
    let Deletion { id, trace_count, span_count, damaged_block_count, .. } = deletion;
    let traces = count(*trace_count);
    let mut lines = vec![match deletion.state.as_str() {
        "done" => format!("deleted {traces} traces, {} spans", count(*span_count)),
        _ => format!(
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
        let taken = show::time(&backup.taken_unix_nano);
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
