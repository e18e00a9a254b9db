#!/usr/bin/env bash
# The release binary, web UI included. HEADLESS=1 leaves the UI out and needs no Node.js.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

"$ROOT/scripts/setup.sh" run
"$ROOT/scripts/rocksdb.sh"
features=()
if [[ "${HEADLESS:-}" == 1 ]]; then
    features=(--no-default-features)
else
    "$ROOT/scripts/ui.sh" build
fi
[[ -x "$TARGET/release/spandrel" ]] || say "Building spandrel; the first time takes some minutes"
cargo build "${CARGO_LOCKED[@]}" --release "${features[@]}" >&2
