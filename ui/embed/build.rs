//! Refuses to embed a UI that has not been built, and says what to run.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=embed/build.rs");
    if std::env::var_os("CARGO_FEATURE_APP").is_none() {
        return;
    }
    println!("cargo::rerun-if-changed=dist");
    if !Path::new("dist/index.html").is_file() {
        println!(
            "cargo::error=ui/dist is missing: run `npm ci && npm run build` in ui/ (Node.js 20.19 or later), \
             or build without the UI by `--no-default-features`"
        );
    }
}
