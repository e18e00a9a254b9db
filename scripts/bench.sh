#!/usr/bin/env bash
# What it costs, measured with a real server, beside what it may cost (benches/ says how).
#
#   scripts/bench.sh [FLAG...]                 as in --sizes 1M,5M,50M or --protocol grpc; --help lists them
#   scripts/bench.sh --compare BEFORE AFTER    two reports of earlier runs beside each other
#   PROFILE=1 scripts/bench.sh [FLAG...]       in the end also a flame graph and the CPU time of each stage
#
# Each run leaves its report in benches/out/.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

driver() {
    SPANDREL_BIN="$TARGET/release/spandrel" \
        cargo run "${CARGO_LOCKED[@]}" --release --quiet -p spandrel-benches -- "$@"
}

if [[ "${1:-}" =~ ^(--compare|--help)$ ]]; then
    driver "$@"
    exit
fi
scripts/build.sh
mkdir -p benches/out
run="benches/out/$(date -u +%Y%m%dT%H%M%SZ)"
report=(--json "$run.json")
if [[ "${PROFILE:-}" == 1 ]]; then report+=(--profile "$run-profile"); fi
driver "${report[@]}" "$@"
