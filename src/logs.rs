//! Structured logs on standard error.

use std::io;

use tracing_subscriber::EnvFilter;

use crate::config::LogFormat;

/// Starts logging. `SPANDREL_LOG` says what is logged; information and worse by default.
pub(crate) fn start(format: LogFormat) {
    let filter = EnvFilter::try_from_env("SPANDREL_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    let started = match format {
        LogFormat::Text => logs.with_ansi(io::IsTerminal::is_terminal(&io::stderr())).try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    if let Err(error) = started {
        eprintln!("spandrel: no logs: {error}");
    }
}
