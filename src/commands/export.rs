//! `spandrel export`: writes traces into a file, in a format of other tools.
//!
//! The file is called `FILE.partial` until it is complete, and stays so if the export breaks off.

use std::error::Error;
use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Read, Write};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use super::client::{Answer, Client, ServerFlag};
use super::output;

/// The arguments of `spandrel export`.
#[derive(Debug, Args)]
pub(crate) struct ExportFlags {
    /// The format of the file
    #[arg(long, value_enum, default_value = "otlp")]
    format: ExportFormat,
    /// The file; an existing one is replaced when the new one is complete [default: standard output]
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only traces with a span that matches this TraceQL selector [default: all]
    #[arg(long, value_name = "TRACEQL")]
    query: Option<String>,
    /// Beginning of the range: RFC 3339, now-2h, Unix seconds or nanoseconds [default: the oldest span]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// End of the range [default: no bound]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    #[command(flatten)]
    server: ServerFlag,
}

/// The format of an exported file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ExportFormat {
    /// OTLP JSON, one document a line, lossless; collectors read such files
    Otlp,
    /// JSON that Jaeger's UI can open
    Jaeger,
    /// A table of spans for DuckDB, pandas and the like
    Parquet,
}

/// A reader that advances a progress bar.
struct Watched<R> {
    inner: R,
    bar: ProgressBar,
    unit: Unit,
    bytes: u64,
}

/// The unit in which progress is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    /// Each trace stands on a line of its own.
    Lines,
    Bytes,
}

const COPY_BYTES: usize = 256 << 10;
/// For formats with a line for each trace: the length is the largest possible number of traces.
const TRACES: &str = "{msg} {wide_bar} {human_pos}/{human_len} traces, {per_sec}, {eta} left";
/// For Parquet: a row group does not tell how many follow.
const BYTES: &str = "{msg} {spinner} {binary_bytes}, {binary_bytes_per_sec}, {elapsed}";

pub(crate) fn run(flags: ExportFlags) -> Result<(), Box<dyn Error>> {
    if flags.format == ExportFormat::Parquet && flags.output.is_none() && io::stdout().is_terminal() {
        return Err("a Parquet file is nothing for a terminal; say with --output where it goes".into());
    }
    let format = flags.format.to_possible_value().map(|value| value.get_name().to_owned());
    let parameters = [
        ("format", format.as_deref()),
        ("q", flags.query.as_deref()),
        ("start", Some(flags.start.as_deref().unwrap_or("0"))),
        ("end", flags.end.as_deref()),
    ];
    let answer = Client::new(&flags.server)?.get("/api/v1/export", &parameters)?;
    let traces = answer.number("spandrel-traces-at-most");
    let missing = answer.number("spandrel-damaged-blocks").unwrap_or(0);
    let unit = if flags.format == ExportFormat::Parquet { Unit::Bytes } else { Unit::Lines };
    let mut watched = Watched::new(answer, unit, traces.unwrap_or(0));
    match &flags.output {
        Some(path) => write_file(&mut watched, path)?,
        None => output::print(|out| Ok(copy(&mut watched, out)?))?,
    }
    watched.bar.finish_and_clear();
    if let Some(path) = &flags.output {
        eprintln!("wrote {} to {}", output::bytes(watched.bytes), path.display());
    }
    if missing > 0 {
        return Err(format!(
            "{missing} damaged blocks are missing from the export; `spandrel check` names them, and a backup may have them"
        )
        .into());
    }
    Ok(())
}

fn write_file(from: &mut impl Read, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut name = path.as_os_str().to_owned();
    name.push(".partial");
    let partial = PathBuf::from(name);
    let cannot = |error: io::Error| format!("cannot write {}: {error}", partial.display());
    let mut file = File::create(&partial).map_err(cannot)?;
    if let Err(error) = copy(from, &mut file) {
        let kept = partial.display();
        return Err(format!("the export broke off ({error}); what came is in {kept}; export again").into());
    }
    file.sync_all().map_err(cannot)?;
    std::fs::rename(&partial, path).map_err(|error| format!("cannot name {}: {error}", path.display()))?;
    Ok(())
}

fn copy(from: &mut impl Read, to: &mut (impl Write + ?Sized)) -> io::Result<()> {
    let mut buffer = vec![0; COPY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => to.write_all(&buffer[..read])?,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

// === impl Watched ===

impl Watched<Box<dyn Read>> {
    fn new(answer: Answer, unit: Unit, traces: u64) -> Self {
        // Indicatif draws it on standard error, and only if that is a terminal.
        let (bar, template) = match unit {
            Unit::Lines => (ProgressBar::new(traces), TRACES),
            Unit::Bytes => (ProgressBar::no_length(), BYTES),
        };
        let bar = match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        };
        let inner: Box<dyn Read> = Box::new(answer.reader());
        Self { inner, bar: bar.with_message("exporting"), unit, bytes: 0 }
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.bytes += read as u64;
        self.bar.inc(match self.unit {
            Unit::Lines => buffer[..read].iter().filter(|byte| **byte == b'\n').count() as u64,
            Unit::Bytes => read as u64,
        });
        Ok(read)
    }
}
