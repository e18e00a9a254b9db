#!/usr/bin/env bash
# Measures the cost of a real server, beside its targets (see benches/); its CPU time by function, if `perf` is
# installed; and what it loses when it is killed or the power fails.
#
#   scripts/bench.sh [FLAG...]                 as in --sizes 1M,5M,50M or --protocol grpc; --help lists them
#   scripts/bench.sh --beside FEATURE [FLAG...]    what a feature costs (encryption, tenants), two servers by turns
#   scripts/bench.sh --compare BEFORE AFTER    two reports of earlier runs beside each other
#
#   PROFILE=0                  without the flame graph; PROFILE=1: an error where perf cannot record
#   KILLS=200 POWER_LOSSES=200 how often the server is killed and power fails (20 and 50 unless said; 0: not)
#
# Each run leaves its report in benches/out/.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

driver() {
    SPANDREL_BIN="$TARGET/release/spandrel" \
        cargo run "${CARGO_LOCKED[@]}" --release --quiet -p spandrel-benches -- "$@"
}

can_record() {
    perf record --quiet -e cpu-clock:u -o /dev/null -- true >/dev/null 2>&1 || { note "no flame graph: perf cannot record here"; false; }
}

# Runs a test of durability for longer than CI does, and prints its lines with these words.
durability() { # TARGET TEST WORDS
    local said
    if ! said="$(cargo test "${CARGO_LOCKED[@]}" --quiet -p spandrel-tests --test "$1" -- --exact "$2" --nocapture 2>&1)"; then
        printf '%s\n' "$said" >&2
        die "$2: something that was acknowledged is gone"
    fi
    grep -E "$3" <<<"$said" || die "$2 said nothing"
}

kills() {
    echo
    echo "SIGKILL at random moments under load, $1 rounds on one directory: nothing acknowledged is missing"
    SPANDREL_BIN="$TARGET/release/spandrel" SPANDREL_KILL_ROUNDS="$1" \
        durability e2e durability::sigkill_loses_nothing_acknowledged 'KILL_SEED|ready after' |
        sed -E 's/^/  /' | tail -n 3
}

power_losses() {
    local runs=$((($1 + 24) / 25))
    echo
    echo "Power loss at random moments, writes that were not synced are dropped, $((25 * runs)) times: nothing acknowledged is missing"
    SPANDREL_POWER_RUNS=$runs SPANDREL_POWER_POINTS=25 \
        durability crash power_loss::power_loss_takes_nothing_that_was_acknowledged 'POWER_SEED' |
        sed -E 's/^/  /' | tail -n 3
}

if [[ "${1:-}" =~ ^(--compare|--help)$ ]]; then
    driver "$@"
    exit
fi
scripts/build.sh
environment="$(scripts/env.sh)"
eval "$environment"
if [[ "${1:-}" == --beside ]]; then
    driver "$@"
    exit
fi
mkdir -p benches/out
run="benches/out/$(date -u +%Y%m%dT%H%M%SZ)"
report=(--json "$run.json")
if [[ "${PROFILE:-}" == 1 ]] || { [[ -z "${PROFILE:-}" ]] && can_record; }; then
    report+=(--profile "$run-profile")
fi
if [[ "${KILLS:-20}" != 0 || "${POWER_LOSSES:-50}" != 0 ]]; then
    cargo test "${CARGO_LOCKED[@]}" --quiet --no-run -p spandrel-tests --test e2e --test crash
fi
driver "${report[@]}" "$@"
if [[ "${KILLS:-20}" != 0 ]]; then kills "${KILLS:-20}"; fi
if [[ "${POWER_LOSSES:-50}" != 0 ]]; then power_losses "${POWER_LOSSES:-50}"; fi
