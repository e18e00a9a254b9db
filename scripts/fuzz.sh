#!/usr/bin/env bash
# Fuzzes the decoders on the stable toolchain. Stops at the first input that breaks one, and keeps it.
#
#   scripts/fuzz.sh [SECONDS] [TARGET...]    for so long per target (default 60), two at a time

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

seconds="${1:-60}"
[[ "$seconds" =~ ^[1-9][0-9]*$ ]] || die "how many seconds per target? got $seconds"
shift || true
cd "$ROOT/tests/fuzz"
known=(src/bin/*.rs)
known=("${known[@]##*/}")
targets=("$@")
[[ $# -gt 0 ]] || targets=("${known[@]%.rs}")

# The coverage that libFuzzer lives from, without a sanitizer: those need a nightly toolchain. Only
# for the host's crates, not for build scripts, which `--target` keeps apart.
host="$(rustc -vV | sed -n 's/^host: //p')"
coverage=(
    --cfg fuzzing
    -Cpasses=sancov-module
    -Cllvm-args=-sanitizer-coverage-level=4
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
    -Cllvm-args=-sanitizer-coverage-pc-table
    -Ccodegen-units=1
)
export CARGO_TARGET_DIR="$TARGET/fuzz"
RUSTFLAGS="${coverage[*]}" cargo build "${CARGO_LOCKED[@]}" --release --quiet --target "$host"

# Inputs that reached something new are kept outside git; the seeds beside the targets are the start.
run() { # TARGET
    local target="$1" work="$CARGO_TARGET_DIR/runs/$1"
    mkdir -p "$work/corpus" "$work/crashes" "seeds/$target"
    if "$CARGO_TARGET_DIR/$host/release/$target" "$work/corpus" "seeds/$target" \
        -max_total_time="$seconds" -max_len=16384 -timeout=20 -rss_limit_mb=3000 \
        -artifact_prefix="$work/crashes/" >"$work/log" 2>&1; then
        note "$target: $(grep -oE '^Done [0-9]+ runs' "$work/log" || echo 'done')"
    else
        tail -n 40 "$work/log" >&2
        return 1
    fi
}

broken=()
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    pids=()
    pair=("${targets[@]:at:2}")
    for target in "${pair[@]}"; do
        run "$target" &
        pids+=($!)
    done
    for of in "${!pair[@]}"; do wait "${pids[of]}" || broken+=("${pair[of]}"); done
done

# The last lines say all that it takes to see it again elsewhere: a log may be cut, and the file lost with its machine.
tell() { # TARGET
    local work="$CARGO_TARGET_DIR/runs/$1" input
    input="$(sed -n 's/^.*Test unit written to //p' "$work/log" | tail -n 1)"
    note "$1 broke: $(grep -aE -m 1 -A 1 'panicked at|ERROR: libFuzzer' "$work/log" | cut -c -400)"
    note "this runs it again: $CARGO_TARGET_DIR/$host/release/$1 ${input:-with the last input of $work/log}"
    if [[ -s "$input" ]]; then note "the input, in base64: $(base64 -w 0 "$input" | head -c 4000)"; fi
}

for target in "${broken[@]}"; do tell "$target"; done
((${#broken[@]} == 0)) || die "fuzzing found something"
