//! Progress bars on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar. Indicatif draws it on standard error, and only if that is a terminal.
pub(crate) struct Progress(ProgressBar);

// === impl Progress ===

impl Progress {
    /// Counts bytes of something.
    pub(crate) fn of_bytes(what: &'static str, all: u64) -> Self {
        let bar = ProgressBar::new(all).with_message(what);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        Self(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// Shows nothing.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    /// So much more is done.
    pub(crate) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    /// So much is done in all.
    pub(crate) fn set(&self, to: u64) {
        self.0.set_position(to);
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
