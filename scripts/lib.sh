# shellcheck shell=bash disable=SC2034
# Shared by the scripts, and only sourced: paths, and functions for output and errors.
# Messages go to standard error; standard output is for results.

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
# Files that are slow to make and equal for every clone: RocksDB, tools, Python packages.
CACHE="${SPANDREL_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/spandrel}"
TARGET="${CARGO_TARGET_DIR:-$ROOT/target}"
# In CI a lock file that does not fit the manifests is an error; elsewhere cargo updates it.
CARGO_LOCKED=()
if [[ -n "${CI:-}" ]]; then CARGO_LOCKED=(--locked); fi

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
note() { printf '    %s\n' "$*" >&2; }
die() {
    printf '\033[1;31merror:\033[0m %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# Without a terminal (CI, a pipe) escape codes would be noise.
if [[ ! -t 2 ]]; then
    say() { printf '==> %s\n' "$*" >&2; }
    die() {
        printf 'error: %s\n' "$*" >&2
        exit 1
    }
fi

# A short hash of standard input.
short_hash() { sha256sum | cut -c1-12; }

# The commands that tests and benchmarks need; see `make env`.
chromium_path() {
    local name
    for name in "${CHROMIUM:-}" chromium chromium-browser google-chrome google-chrome-stable; do
        if [[ -n "$name" ]] && have "$name"; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}
python_venv() {
    local requirements="$ROOT/tests/sdk/python/requirements.txt"
    printf '%s/python-%s\n' "$CACHE" "$( { python3 --version; cat "$requirements"; } | short_hash)"
}

# A real Envoy: the one that SPANDREL_ENVOY names, one on the PATH, or that of the tests.
envoy_path() {
    local envoy
    for envoy in "${SPANDREL_ENVOY:-}" "$(command -v envoy || true)" \
        "$(python_venv)"/lib/python3*/site-packages/envoy/_bin/envoy "$CACHE"/envoy/lib/python3*/site-packages/envoy/_bin/envoy; do
        if [[ -n "$envoy" && -x "$envoy" ]]; then
            printf '%s\n' "$envoy"
            return
        fi
    done
    return 1
}

collector_path() {
    printf '%s/collector-%s\n' "$CACHE" "$(cat "$ROOT"/tests/collector/{go.mod,go.sum,main.go} | short_hash)"
}

# Where the jars of tests/NAME/pom.xml are, with Java to run them. Fails where they are not.
jars_folder() { printf '%s/%s-%s\n' "$CACHE" "${1//\//-}" "$(short_hash <"$ROOT/tests/$1/pom.xml")"; } # NAME
jars_of() { # NAME
    local folder
    folder="$(jars_folder "$1")"
    have java && [[ -f "$folder/complete" ]] && printf '%s\n' "$folder"
}

# Compiles a cargo tool once for this machine and puts its path into `tool`. Without optimisation: such tools run for
# seconds, and optimising them triples the time to compile them.
cargo_tool() { # CRATE VERSION PATIENCE [FLAG...]
    local root="$CACHE/tools-${1#cargo-}-$2"
    tool="$root/bin/$1"
    [[ -x "$tool" ]] && return
    say "Compiling $1 $2, once for this machine: $3 on two cores"
    CARGO_PROFILE_DEV_DEBUG=0 CARGO_PROFILE_DEV_OPT_LEVEL=0 RUSTFLAGS='' \
        cargo install "$1" --debug --locked --version "$2" "${@:4}" --root "$root" --target-dir "$CACHE/tools-build" >&2 || return
    rm -rf "$CACHE/tools-build"
}

# Starts `BINARY serve FLAG...` and returns when it is ready, with its process ID in `server` and the address of each
# port in `at`, by name. Fails if the server ends or takes too long.
start_server() { # BINARY FLAG...
    local pipe word='' name address
    pipe="$(mktemp -u)"
    mkfifo "$pipe"
    "$1" serve "${@:2}" >"$pipe" </dev/null &
    server=$!
    exec 8<"$pipe"
    rm "$pipe"
    declare -gA at=()
    while read -rt 600 -u 8 word name address; do
        if [[ "$word" == listening ]]; then at[$name]="$address"; fi
        if [[ "$word" == ready ]]; then return 0; fi
    done
    return 1
}

# The same for a test: on free ports, with its data and log in a new folder `work`. Both are gone when the script ends.
start_scratch_server() { # BINARY
    work="$(mktemp -d)"
    server=''
    trap 'stop "$server"; rm -rf "$work"' EXIT
    if ! start_server "$1" --data-dir "$work/data" --http-addr 127.0.0.1:0 \
        --otlp-grpc-addr 127.0.0.1:0 --otlp-http-addr 127.0.0.1:0 --zipkin-addr 127.0.0.1:0 2>"$work/log"; then
        cat "$work/log" >&2
        die "the server did not get ready (its log is above)"
    fi
}

# Stops a process that was started here, and returns when it has ended.
stop() { # PROCESS
    if [[ -n "$1" ]] && kill "$1" 2>/dev/null; then
        while kill -0 "$1" 2>/dev/null; do wait "$1" 2>/dev/null || true; done
    fi
}
