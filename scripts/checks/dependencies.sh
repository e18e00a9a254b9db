#!/usr/bin/env bash
# Asserts the layers of the workspace from cargo's dependency graph:
# proto <- block <- storage <- {collector, mesh <- engine <- query, rocks} <- binary; traceql <- engine; proto <- gate <- binary;
# collector <- kafka <- binary; proto <- quota <- {collector, query}; proto <- detect <- {clean <- collector, query}; {block, traceql} <- clean.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

failures=0

# The crates that a crate links in a release: `cargo tree` without dev- and build-dependencies.
links() { cargo tree "${CARGO_LOCKED[@]}" -p "$1" -e normal --prefix none --no-dedupe | awk -v self="$1" '$1 != self { print $1 }' | sort -u; }

complain() {
    note "$1"
    failures=$((failures + 1))
}

# Asserts that CRATE links, of the crates of this workspace, only the listed ones.
may_see() {
    local crate="$1" all seen
    shift
    all="$(links "$crate")"
    for seen in $(grep -E '^spandrel(-|$)' <<<"$all" || true); do
        [[ " $* " == *" $seen "* ]] || complain "$crate depends on $seen; it may see only: ${*:-no other crate of the workspace}"
    done
}

# Asserts that CRATE links none of these, directly or through others.
never_links() {
    local crate="$1" all other
    shift
    all="$(links "$crate")"
    for other in "$@"; do
        if grep -qx "$other" <<<"$all"; then
            complain "$crate links $other; see who brings it: cargo tree -p $crate -e normal -i $other"
        fi
    done
}

may_see spandrel-proto
may_see spandrel-detect spandrel-proto
may_see spandrel-block spandrel-proto
may_see spandrel-storage spandrel-block spandrel-proto
may_see spandrel-rocks spandrel-storage spandrel-block spandrel-proto
may_see spandrel-quota spandrel-proto
may_see spandrel-clean spandrel-detect spandrel-traceql spandrel-block spandrel-proto
may_see spandrel-collector spandrel-clean spandrel-detect spandrel-traceql spandrel-quota spandrel-storage spandrel-block spandrel-proto
may_see spandrel-kafka spandrel-collector spandrel-clean spandrel-detect spandrel-traceql spandrel-quota spandrel-storage spandrel-block spandrel-proto
may_see spandrel-traceql
may_see spandrel-engine spandrel-mesh spandrel-traceql spandrel-storage spandrel-block spandrel-proto
may_see spandrel-mesh spandrel-storage spandrel-block spandrel-proto
may_see spandrel-query spandrel-detect spandrel-quota spandrel-engine spandrel-mesh spandrel-traceql spandrel-storage spandrel-block spandrel-proto
may_see spandrel-gate spandrel-proto
may_see spandrel-ui
may_see spandrel-demo

never_links spandrel-proto axum tonic hyper rocksdb
never_links spandrel-block axum tonic hyper rocksdb tokio
never_links spandrel-storage axum tonic hyper rocksdb
never_links spandrel-clean axum tonic hyper rocksdb tokio
never_links spandrel-collector rocksdb krafka
never_links spandrel-kafka rocksdb
never_links spandrel-query rocksdb
never_links spandrel-quota axum tonic hyper rocksdb
never_links spandrel-rocks axum tonic hyper
never_links spandrel-gate rocksdb

# Features for tests, which can damage a store, must not be in the binary.
features="$(cargo tree "${CARGO_LOCKED[@]}" -p spandrel -e normal,features -i spandrel-storage)"
for feature in failpoints memory-engine; do
    if grep -q "feature \"$feature\"" <<<"$features"; then
        complain "spandrel is built with the feature $feature of spandrel-storage, which is for tests alone"
    fi
done

# Finds dependencies that no source file of their crate uses.
for manifest in $(git -C "$ROOT" ls-files '*Cargo.toml'); do
    folder="$ROOT/$(dirname "$manifest")"
    sources=()
    for name in src embed tests benches examples build.rs; do
        # The tests and benchmarks of the root crate's folders are crates of their own.
        if [[ -e "$folder/$name" && "$manifest $name" != "Cargo.toml tests" && "$manifest $name" != "Cargo.toml benches" ]]; then
            sources+=("$folder/$name")
        fi
    done
    # Files of other crates that are included by path.
    while IFS=: read -r file path; do
        path="$(dirname "$file")/$path"
        [[ "$path" == */mod.rs ]] && path="$(dirname "$path")"
        sources+=("$path")
    done < <(grep -roE --include='*.rs' '#\[path = "[^"]+' "${sources[@]}" | sed 's/#\[path = "//')
    for name in $(awk '/^\[/ { on = /dependencies\]$/ && !/workspace/ } on && /^[a-z]/ { sub(/[ .=].*/, ""); print }' "$ROOT/$manifest"); do
        grep -rqw --include='*.rs' "${name//-/_}" "${sources[@]}" || complain "$manifest lists $name, which nothing there uses; remove it"
    done
done

((failures == 0)) || die "$failures dependencies to mend (ARCHITECTURE.md draws how they point)"
