//! How commands show how far they are, on standard error and only to people, and what they say.

use std::io::{self, Write as _};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A bar that moves while something long goes on. Nothing is shown where nobody watches: indicatif
/// draws on standard error, and only if that is a terminal.
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

/// A number of bytes as people read it.
pub(crate) fn bytes(count: u64) -> String {
    HumanBytes(count).to_string()
}

/// A line of the result, on standard output.
pub(crate) fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}
