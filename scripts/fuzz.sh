#!/usr/bin/env bash
# Fuzzes the decoders on the stable toolchain; stops at the first input that breaks one and keeps it.
#
#   scripts/fuzz.sh [SECONDS]    for so long per target (default 60)

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${1:-60}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "how many seconds per target? got $seconds"
cd "$ROOT/tests/fuzz"
# A workspace of its own, so that its build flags stay out of everybody else's.
CARGO_TARGET_DIR="$TARGET/fuzz" cargo run "${CARGO_LOCKED[@]}" --release --quiet -- --seconds "$seconds"
