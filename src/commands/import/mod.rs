//! `spandrel import`: sends the traces of files to a server by OTLP, and waits where the server asks for it.
//!
//! A file is read as a stream, document by document, and requests are cut at the same places each time: when an import
//! that broke off is run again, the server recognises what it has.

mod documents;
mod format;
mod pieces;
mod sender;
mod source;

use std::error::Error;
use std::path::PathBuf;

use clap::Args;

use self::format::{Format, Items};
use self::pieces::Pieces;
use self::sender::Sender;
use self::source::Source;
use super::key::KeyFlag;
use super::output::count;
use super::progress::Progress;
use crate::outgoing::TlsClientFlags;

/// The arguments of `spandrel import`.
#[derive(Debug, Args)]
pub(crate) struct ImportFlags {
    /// Files in OTLP (protobuf, or JSON documents one after another), Zipkin's JSON of version 2, or the JSON that
    /// Jaeger's UI downloads, also compressed with gzip or zstd; - is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The format of all files [default: found out for each]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Where OTLP/HTTP goes: the address of the port, to which /v1/traces is added
    #[arg(long, env = "SPANDREL_IMPORT_TO", value_name = "URL", default_value = "http://127.0.0.1:4318")]
    to: String,
    #[command(flatten)]
    tls: TlsClientFlags,
    #[command(flatten)]
    key: KeyFlag,
}

pub(crate) fn run(flags: ImportFlags) -> Result<(), Box<dyn Error>> {
    let mut sender = Sender::new(&flags.to, &flags.tls, &flags.key)?;
    for file in &flags.files {
        let name = file.display().to_string();
        let source = Source::open(file).map_err(|error| format!("cannot read {name}: {error}"))?;
        let bar = match source.length() {
            Some(length) => Progress::of_bytes("importing", length),
            None => Progress::hidden(),
        };
        let sent = import(source, flags.format, &bar, &mut sender);
        bar.finish();
        sent.map_err(|error| {
            format!("{name}: {error}; stored {} of it and the files before", spans(sender.accepted()))
        })?;
    }
    eprintln!("stored {}", spans(sender.accepted()));
    match sender.refusals() {
        None => Ok(()),
        Some(refusals) => Err(refusals.into()),
    }
}

fn import(
    source: Source,
    format: Option<Format>,
    bar: &Progress,
    sender: &mut Sender,
) -> Result<(), Box<dyn Error>> {
    let mut items = Items::open(source, format)?;
    let mut pieces = Pieces::default();
    while let Some(decoded) = items.next()? {
        sender.note_refused(&decoded.rejected);
        pieces.add(&decoded, |request, spans| sender.send(request, spans))?;
        bar.set(items.passed());
    }
    pieces.finish(|request, spans| sender.send(request, spans))?;
    Ok(())
}

fn spans(number: u64) -> String {
    format!("{} span{}", count(number), if number == 1 { "" } else { "s" })
}
