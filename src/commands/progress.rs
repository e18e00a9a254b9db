//! Progress bars on standard error.

use indicatif::{ProgressBar, ProgressStyle};

/// A progress bar. Indicatif draws it on standard error, and only if that is a terminal.
pub(crate) struct Progress(ProgressBar);

// === impl Progress ===

impl Progress {
    /// A bar that counts bytes.
    pub(crate) fn of_bytes(what: &'static str, all: u64) -> Self {
        let bar = ProgressBar::new(all).with_message(what);
        let template = "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        Self(match ProgressStyle::with_template(template) {
            Ok(style) => bar.with_style(style),
            Err(_) => bar,
        })
    }

    /// A bar that is not shown.
    pub(crate) fn hidden() -> Self {
        Self(ProgressBar::hidden())
    }

    pub(crate) fn advance(&self, by: u64) {
        self.0.inc(by);
    }

    pub(crate) fn set(&self, to: u64) {
        self.0.set_position(to);
    }

    /// Removes the bar.
    pub(crate) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
