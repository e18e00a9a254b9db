#!/usr/bin/env bash
# Checks the requirements of building, running and testing, and installs missing ones.
#
#   scripts/setup.sh run     what `make run` and `make build` need
#   scripts/setup.sh test    that, and what the tests need: a browser, Python's OpenTelemetry SDK, Kafka
#
# As root on Debian or Ubuntu it installs missing system packages; for other users it prints the command that does.
# Returns at once if nothing is missing.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

NODE_NEEDED=20.19
missing_packages=()
missing_reasons=()
unmet=()

need_package() { # PACKAGE REASON
    missing_packages+=("$1")
    missing_reasons+=("$1: $2")
}

at_least() { [[ "$(printf '%s\n%s\n' "$1" "$2" | sort -V | sed -n 1p)" == "$1" ]]; } # WANTED FOUND

compiles_cxx20() {
    echo '#include <concepts>' | "${CXX:-c++}" -std=c++20 -fsyntax-only -x c++ - 2>/dev/null
}

# libclang generates the bindings to RocksDB's C header at build time. It also needs the compiler's own headers
# (stddef.h), so the run-time library alone is not enough.
finds_libclang() {
    [[ -n "${LIBCLANG_PATH:-}" ]] && return
    compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null \
        && compgen -G '/usr/lib/llvm-*/lib/clang/*/include/stddef.h' >/dev/null && return
    have clang
}

check_build_tools() {
    have git || need_package git "the repository's own checks read its file list"
    have cc && compiles_cxx20 || need_package g++ "compiles RocksDB (C++20)"
    finds_libclang || need_package libclang-dev "generates the Rust bindings to RocksDB"
}

check_languages() {
    local rust_needed found
    rust_needed="$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml")"
    if ! have cargo || ! have rustc; then
        unmet+=("Rust $rust_needed or later: https://rustup.rs, or your system's rustup package")
    else
        found="$(rustc --version | cut -d' ' -f2)"
        at_least "$rust_needed" "$found" || unmet+=("Rust $rust_needed or later, found $found: rustup update stable")
    fi
    [[ "${HEADLESS:-}" == 1 ]] && return
    if ! have node || ! have npm; then
        unmet+=("Node.js $NODE_NEEDED or later with npm: https://nodejs.org/en/download (or HEADLESS=1 make run)")
    else
        found="$(node --version | tr -d v)"
        at_least "$NODE_NEEDED" "$found" || unmet+=("Node.js $NODE_NEEDED or later, found $found: https://nodejs.org/en/download")
    fi
}

check_test_tools() {
    local requirements="$ROOT/tests/sdk/python/requirements.txt"
    chromium_path >/dev/null || need_package chromium "the browser that the UI is tested in"
    if [[ -f "$requirements" ]]; then
        have python3 || need_package python3 "sends spans with the real OpenTelemetry SDK"
        python3 -c 'import ensurepip, venv' 2>/dev/null \
            || need_package python3-venv "keeps that SDK's packages apart from the system's"
    fi
    if have cargo && ! { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1; then
        if have rustup; then
            say "Installing rustfmt and clippy: the tests check format and lints"
            rustup component add rustfmt clippy >&2
        else
            unmet+=("rustfmt and clippy, from wherever your Rust comes")
        fi
    fi
}

install_packages() {
    ((${#missing_packages[@]})) || return 0
    local install="apt-get update && apt-get install -qq -y --no-install-recommends ${missing_packages[*]}"
    local reason
    say "Missing system packages"
    for reason in "${missing_reasons[@]}"; do note "$reason"; done
    have apt-get || die "this is neither Debian nor Ubuntu: install the equivalents with your package manager, then try again"
    ((EUID == 0)) || die "not root; run this, then try again:

    sudo sh -c '$install'
"
    say "Installing them: $install"
    DEBIAN_FRONTEND=noninteractive sh -c "$install" >&2
}

# Ubuntu's chromium package only installs a snap, which containers cannot run.
check_browser_works() {
    local chromium
    chromium="$(chromium_path)" && "$chromium" --version >/dev/null 2>&1 \
        || die "no working Chromium; install one (\`snap install chromium\` on Ubuntu) or name one: CHROMIUM=/path/to/it"
}

make_python_venv() {
    local requirements="$ROOT/tests/sdk/python/requirements.txt" venv
    [[ -f "$requirements" ]] || return 0
    venv="$(python_venv)"
    [[ -f "$venv/complete" ]] && return
    say "Installing Python's OpenTelemetry SDK for the tests into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$requirements" >&2
    touch "$venv/complete"
}

# The Collector of the tests, once for this machine. Without Go its test is skipped.
build_collector() {
    local binary
    binary="$(collector_path)"
    [[ ! -x "$binary" ]] && command -v go >/dev/null || return 0
    say "Compiling the OpenTelemetry Collector of the tests, once for this machine: 3 minutes on two cores"
    (cd "$ROOT/tests/collector" && go build -trimpath -ldflags '-s -w' -o "$binary" .) >&2 \
        || note "the Collector does not compile here, so its test is skipped"
}

# What tests/NAME/pom.xml lists, once for this machine. Without Java and Maven its tests are skipped.
fetch_jars() { # NAME WHAT GOAL...
    local folder
    folder="$(jars_folder "$1")"
    [[ ! -f "$folder/complete" ]] && have java && have mvn || return 0
    say "Fetching $2 of the tests, once for this machine"
    rm -rf "$folder"
    if mvn -q -B -f "$ROOT/tests/$1/pom.xml" "${@:3}" -DincludeScope=runtime "-DoutputDirectory=$folder" >&2; then
        touch "$folder/complete"
    else
        note "Maven cannot fetch it here, so its tests are skipped"
    fi
}

install_node_packages() {
    local folder
    for folder in "$ROOT/tests/sdk/node" "$ROOT/tests/idp"; do
        [[ ! -f "$folder/package-lock.json" ]] || "$ROOT/scripts/ui.sh" packages "$folder"
    done
}

main() {
    local purpose="${1:-}"
    [[ "$purpose" =~ ^(run|test)$ ]] || die "say what for: scripts/setup.sh run, or scripts/setup.sh test"
    check_build_tools
    check_languages
    if [[ "$purpose" == test ]]; then check_test_tools; fi
    if ((${#unmet[@]})); then
        local tool
        say "Please install first"
        for tool in "${unmet[@]}"; do note "$tool"; done
        exit 1
    fi
    install_packages
    if [[ "$purpose" == test ]]; then
        check_browser_works
        make_python_venv
        install_node_packages
        build_collector
        fetch_jars kafka Kafka dependency:copy-dependencies
        fetch_jars sdk/java "Java's senders" dependency:copy-dependencies dependency:copy
    fi
}

main "$@"
