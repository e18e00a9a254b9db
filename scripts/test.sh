#!/usr/bin/env bash
# Runs every check and test in order, and stops at the first failure.
#
#   scripts/test.sh          everything; what CI runs
#   scripts/test.sh quick    format, house rules, lints and unit tests
#
# The last line is always `N passed, N failed`, counting steps; the runners above it count tests.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

FUZZ_SECONDS=10 # per target; `make fuzz` goes on for longer

passed=()
failed=()

summary() {
    echo
    ((${#passed[@]} == 0)) || printf '  passed  %s\n' "${passed[@]}"
    ((${#failed[@]} == 0)) || printf '  FAILED  %s (what would have come after it did not run)\n' "${failed[@]}"
    echo "${#passed[@]} passed, ${#failed[@]} failed"
}
trap summary EXIT

step() { # NAME COMMAND...
    local name="$1" began=$SECONDS
    shift
    say "$name"
    if "$@" </dev/null; then
        passed+=("$name ($((SECONDS - began)) s)")
    else
        failed+=("$name")
        exit 1
    fi
}

npm_in_ui() { (cd ui && npm run --silent "$1"); }

set_up() { # PURPOSE
    scripts/setup.sh "$1" && scripts/rocksdb.sh && scripts/ui.sh build
}

# One profile (dev) and one set of features for all steps, so that nothing is compiled twice.
compile() { cargo build "${CARGO_LOCKED[@]}" --workspace --lib --bins --tests; }
# The fuzz targets are a workspace of their own: they need another compiler's flags.
formatted() { cargo fmt --all --check && cargo fmt --manifest-path tests/fuzz/Cargo.toml --check; }
lints() { cargo clippy "${CARGO_LOCKED[@]}" --workspace --all-targets -- -D warnings; }
# Links of documentation that lead nowhere. Allowed: links to private items, and bare URLs, which help texts contain.
documentation() {
    RUSTDOCFLAGS='-D warnings -A rustdoc::private_intra_doc_links -A rustdoc::bare_urls' \
        cargo doc "${CARGO_LOCKED[@]}" --workspace --no-deps --quiet
}
# Nextest runs the tests of all binaries side by side: two thirds of the time of `cargo test` (.config/nextest.toml).
rust_tests() {
    cargo_tool cargo-nextest 0.9.151 "3 to 5 minutes" && "$tool" nextest run "${CARGO_LOCKED[@]}" --workspace
}
headless() { cargo check "${CARGO_LOCKED[@]}" --no-default-features; }

quick() {
    step "set-up" set_up run
    step "format" formatted
    step "house rules" scripts/checks/tidy.sh
    step "lints" lints
    step "unit tests" cargo test "${CARGO_LOCKED[@]}" --workspace --lib --bins
}

everything() {
    step "set-up" set_up test
    step "format" formatted
    step "house rules" scripts/checks/tidy.sh
    step "dependencies between crates" scripts/checks/dependencies.sh
    step "import circles" scripts/checks/layers.sh
    step "UI: lint" npm_in_ui lint
    step "UI: types" npm_in_ui typecheck
    step "UI: unit tests" npm_in_ui test
    step "licences and advisories" scripts/checks/deny.sh
    step "lints" lints
    step "documentation" documentation
    step "headless build" headless
    step "compile" compile
    eval "$(scripts/env.sh)"
    export SPANDREL_BIN SPANDREL_PYTHON CHROMIUM
    step "Rust tests" rust_tests
    if [[ -d tests/fuzz ]]; then
        step "fuzzing, $FUZZ_SECONDS s a target" scripts/fuzz.sh "$FUZZ_SECONDS"
    else
        say "SKIPPED: fuzzing; tests/fuzz is not in this tree"
    fi
    step "API document" scripts/checks/schemathesis.sh
    step "browser" scripts/browser.sh
    step "package" scripts/checks/package.sh
}

case "${1:-}" in
    quick) quick ;;
    '') everything ;;
    *) die "scripts/test.sh, or scripts/test.sh quick" ;;
esac
