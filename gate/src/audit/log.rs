//! The log of a running server: a thread writes what requests hand over, many lines with one sync.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{mpsc, oneshot};

use super::chain::Head;
use super::files::{AuditFiles, FilesConfig};
use super::record::{Event, Record};
use crate::attempts::{Attempts, Origin};

/// How a log is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditConfig {
    pub files: FilesConfig,
    /// Whether a request is refused whose line cannot be written.
    pub required: bool,
}

/// A log that is open. Dropping it without [`AuditLog::close`] loses lines of [`AuditLog::note`].
pub struct AuditLog {
    entries: mpsc::Sender<Entry>,
    required: bool,
    folder: Option<PathBuf>,
    refusals: Attempts,
    suppressed: AtomicU64,
}

/// The line could not be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the audit log cannot be written")]
pub struct AuditError;

struct Entry {
    record: Record,
    /// Answered when the line is durable, or cannot be.
    done: Option<oneshot::Sender<Result<(), AuditError>>>,
}

/// Where lines go.
enum Sink {
    Files(AuditFiles),
    Output(Head),
}

/// Lines that wait for the disk; a request whose line finds no room waits.
const QUEUE: usize = 4_096;
/// Lines of one sync at the most.
const BATCH: usize = 1_024;
/// Refusals of one address that are written at once, and one more after each interval. More are counted.
const REFUSALS: u32 = 20;
const REFUSAL_INTERVAL: Duration = Duration::from_secs(3);

// === impl AuditLog ===

impl AuditLog {
    /// Opens the log in the folder.
    pub fn to_files(folder: &Path, config: AuditConfig) -> io::Result<Self> {
        let AuditConfig { files, required } = config;
        let files = AuditFiles::open(folder, files, SystemTime::now())?;
        Ok(Self { folder: Some(folder.to_owned()), ..Self::start(Sink::Files(files), required)? })
    }

    /// Writes lines to standard output, in a chain that begins anew with the process.
    pub fn to_stdout(required: bool) -> io::Result<Self> {
        Self::start(Sink::Output(Head::EMPTY), required)
    }

    fn start(mut sink: Sink, required: bool) -> io::Result<Self> {
        metrics::describe_counter!("spandrel_audit_lines_total", "Lines of the audit log, by result");
        sink.append(&[Record::new(Event::Start)])?;
        tracing::info!(head = %sink.head(), "the audit log is open");
        let (entries, waiting) = mpsc::channel(QUEUE);
        thread::Builder::new().name("audit".to_owned()).spawn(move || write_all(sink, waiting))?;
        let refusals = Attempts::new(REFUSALS, REFUSAL_INTERVAL);
        Ok(Self { entries, required, folder: None, refusals, suppressed: AtomicU64::new(0) })
    }

    /// Where the files are, if there are any.
    pub fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    /// Whether requests are refused whose line cannot be written.
    pub fn is_required(&self) -> bool {
        self.required
    }

    /// Writes a line, and returns when it is durable.
    pub async fn write(&self, record: Record) -> Result<(), AuditError> {
        let (done, written) = oneshot::channel();
        self.entries.send(Entry { record, done: Some(done) }).await.map_err(|_| AuditError)?;
        written.await.unwrap_or(Err(AuditError))
    }

    /// Writes a line without waiting for it; it is lost, and counted, when the queue is full.
    pub fn note(&self, record: Record) {
        if self.entries.try_send(Entry { record, done: None }).is_err() {
            metrics::counter!("spandrel_audit_lines_total", "result" => "lost").increment(1);
            tracing::error!("the audit log is too slow: a line is lost");
        }
    }

    /// Writes the line of a refused request, unless its address has had many: then it is counted, and the next line of
    /// a refusal says how many there were.
    pub(crate) async fn refusal(&self, address: Option<IpAddr>, record: Record) -> Result<(), AuditError> {
        let origin = address.map(Origin::of);
        if origin.is_some_and(|origin| self.refusals.fail(origin, Instant::now()).is_some()) {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        self.write(Record { suppressed: self.take_suppressed(), ..record }).await
    }

    fn take_suppressed(&self) -> Option<u64> {
        Some(self.suppressed.swap(0, Ordering::Relaxed)).filter(|count| *count > 0)
    }

    /// Writes what waits, and a last line.
    pub async fn close(&self) {
        let last = Record { suppressed: self.take_suppressed(), ..Record::new(Event::Stop) };
        if self.write(last).await.is_err() {
            tracing::error!("the last line of the audit log is missing");
        }
    }
}

/// Writes one line to the log of a data directory, if it has one and no server writes it. A running server notices by
/// itself what commands change.
pub fn append_unless_open(data_dir: &Path, record: Record) -> io::Result<()> {
    let folder = AuditFiles::folder(data_dir);
    if !folder.is_dir() {
        return Ok(());
    }
    // A command removes no file for its age: it does not know the server's `--audit-retention`.
    let config = FilesConfig { retention: Duration::MAX, ..FilesConfig::default() };
    match AuditFiles::open(&folder, config, SystemTime::now()) {
        Ok(mut files) => files.append(&[record], SystemTime::now()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

/// Writes until every sender is gone.
fn write_all(mut sink: Sink, mut waiting: mpsc::Receiver<Entry>) {
    let mut entries = Vec::with_capacity(BATCH);
    while waiting.blocking_recv_many(&mut entries, BATCH) > 0 {
        let is_last = entries.iter().any(|entry| entry.record.event == Event::Stop);
        let (records, waiters): (Vec<Record>, Vec<_>) =
            entries.drain(..).map(|entry| (entry.record, entry.done)).unzip();
        let result = sink.append(&records).map_err(|error| {
            tracing::error!(%error, lines = records.len(), "the audit log cannot be written");
            AuditError
        });
        let label = if result.is_ok() { "written" } else { "failed" };
        metrics::counter!("spandrel_audit_lines_total", "result" => label).increment(records.len() as u64);
        if is_last {
            tracing::info!(head = %sink.head(), "the audit log is closed");
        }
        for done in waiters.into_iter().flatten() {
            // A client that has left does not wait any more.
            let _ = done.send(result);
        }
    }
}

// === impl Sink ===

impl Sink {
    fn append(&mut self, records: &[Record]) -> io::Result<()> {
        let now = SystemTime::now();
        match self {
            Self::Files(files) => files.append(records, now),
            Self::Output(head) => {
                let mut out = io::stdout().lock();
                for record in records {
                    let (mut line, next) = head.next(record, now);
                    line.push(b'\n');
                    out.write_all(&line)?;
                    *head = next;
                }
                out.flush()
            }
        }
    }

    fn head(&self) -> Head {
        match self {
            Self::Files(files) => files.head(),
            Self::Output(head) => *head,
        }
    }
}
