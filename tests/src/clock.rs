//! Moves the clock of a real server: windows are hours of arrival and retention is days, and no test waits for them.
//!
//! A small library (`tests/shim/clock.c`) is preloaded into the server. The product has no hook for it, so the tests
//! run the binary that users run, with its own clock.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::server::Settings;
use crate::shim;

/// A clock for several servers, one after the other.
pub struct MovedClock {
    library: PathBuf,
    moved: File,
    folder: TempDir,
}

// === impl MovedClock ===

impl MovedClock {
    /// A clock that shows the real time.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let library = shim::compile("clock", folder.path());
        let moved = File::create(folder.path().join("moved")).unwrap();
        let clock = Self { library, moved, folder };
        clock.set(0);
        clock
    }

    /// Settings for a server that uses this clock.
    #[must_use]
    pub fn of(&self, settings: Settings) -> Settings {
        let path = |path: PathBuf| path.display().to_string();
        let settings = settings.env("LD_PRELOAD", &path(self.library.clone()));
        settings.env("SHIM_CLOCK", &path(self.folder.path().join("moved")))
    }

    /// Sets the clock ahead of the real time.
    pub fn ahead(&self, by: Duration) {
        self.set(i64::try_from(by.as_nanos()).unwrap());
    }

    /// Sets the clock behind the real time.
    pub fn behind(&self, by: Duration) {
        self.set(-i64::try_from(by.as_nanos()).unwrap());
    }

    fn set(&self, nanos: i64) {
        self.moved.write_all_at(&nanos.to_ne_bytes(), 0).unwrap();
    }
}

impl Default for MovedClock {
    fn default() -> Self {
        Self::new()
    }
}
