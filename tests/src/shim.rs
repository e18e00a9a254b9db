//! Compiles the small C libraries of `tests/shim` that are preloaded into a process under test. The modules that use
//! them describe them.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::workspace_root;

/// Compiles `tests/shim/NAME.c` into a folder, with the C compiler that RocksDB needs anyway.
pub fn compile(name: &str, into: &Path) -> PathBuf {
    let library = into.join(format!("{name}.so"));
    let source = workspace_root().join(format!("tests/shim/{name}.c"));
    let mut command = Command::new(std::env::var("CC").unwrap_or_else(|_| "cc".to_owned()));
    command.args(["-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-o"]);
    command.arg(&library).arg(source).args(["-ldl", "-lpthread"]);
    let output = command.output().expect("a C compiler");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    library
}
