#!/usr/bin/env bash
# What it costs: the hot path in isolation, then a real server under load (benches/ says what is measured).
#
#   scripts/bench.sh [FLAG...]    flags of the load driver, as in --spans 100000 --protocol grpc

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

scripts/build.sh
say "Micro-benchmarks of the hot path"
cargo bench "${CARGO_LOCKED[@]}" -p spandrel-benches
say "A real server under load"
SPANDREL_BIN="$TARGET/release/spandrel" cargo run "${CARGO_LOCKED[@]}" --release --quiet -p spandrel-benches -- "$@"
