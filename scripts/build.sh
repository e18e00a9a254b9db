#!/usr/bin/env bash
# The release binary, web UI included. HEADLESS=1 leaves the UI out and needs no Node.js.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

export SPANDREL_PROFILE=release # what RocksDB's build script needs is compiled for this build alone

steps=4
features=()
if [[ "${HEADLESS:-}" == 1 ]]; then
    steps=3
    features=(--no-default-features)
fi
binary="$TARGET/release/spandrel"

# Only a first build takes long enough for announcing its steps.
announce() { [[ -x "$binary" ]] || say "Step $1 of $steps: $2"; }

announce 1 "the tools that the build needs"
scripts/setup.sh run
announce 2 "RocksDB, once for this machine (4 to 10 minutes on two cores; kept for later builds)"
scripts/rocksdb.sh
if [[ "${HEADLESS:-}" != 1 ]]; then
    announce 3 "the web UI (a minute)"
    scripts/ui.sh build
fi
announce "$steps" "spandrel itself (some minutes; cargo names each crate as it begins it)"
cargo build "${CARGO_LOCKED[@]}" --release "${features[@]}" >&2
