//! Recorded traffic that is too large for the repository: `$SPANDREL_FIXTURES`, else the folder `shared/fixtures`
//! beside the clone. Tests that need it are skipped, with a message, if it is missing.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::{skipped, workspace_root};

/// Unpacks `FOLDER/NAME.tar.gz` into a folder, or reports that a test is skipped.
pub fn unpack(test: &str, archive: &str, into: &Path) -> Option<PathBuf> {
    let root = std::env::var_os("SPANDREL_FIXTURES")
        .map_or_else(|| workspace_root().join("../shared/fixtures"), PathBuf::from);
    let path = root.join(format!("{archive}.tar.gz"));
    if !path.is_file() {
        skipped(
            test,
            &format!("{archive}.tar.gz is not there; SPANDREL_FIXTURES names the folder that holds it"),
        );
        return None;
    }
    let status = Command::new("tar").arg("-xzf").arg(&path).arg("-C").arg(into).status();
    assert!(status.is_ok_and(|status| status.success()), "cannot unpack {}", path.display());
    let name = Path::new(archive).file_name().expect("an archive has a name");
    Some(into.join(name))
}

/// The recorded request bodies of a folder, in the order they were sent.
pub fn bodies(folder: &Path) -> Vec<Vec<u8>> {
    bodies_named(folder, ".bin")
}

/// The same of files whose names end like this.
pub fn bodies_named(folder: &Path, ending: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.to_str().is_some_and(|name| name.ends_with(ending)))
        .collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a body")).collect()
}
