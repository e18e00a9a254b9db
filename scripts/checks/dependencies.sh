#!/usr/bin/env bash
# The rooms of the house and the one way through them, asserted from cargo's own dependency graph:
# proto <- block <- storage <- {collector, query, rocks} <- binary.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"

failures=0

# What a crate links in a release: `cargo tree` without dev- and build-dependencies.
links() { cargo tree "${CARGO_LOCKED[@]}" -p "$1" -e normal --prefix none --no-dedupe | awk -v self="$1" '$1 != self { print $1 }' | sort -u; }

complain() {
    note "$1"
    failures=$((failures + 1))
}

# CRATE may link the crates of this workspace that are listed, and none of the rest.
may_see() {
    local crate="$1" all seen
    shift
    all="$(links "$crate")"
    for seen in $(grep -E '^spandrel(-|$)' <<<"$all" || true); do
        [[ " $* " == *" $seen "* ]] || complain "$crate depends on $seen; it may see only: ${*:-no other crate of the workspace}"
    done
}

# CRATE must not link these, directly or through others.
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
may_see spandrel-block spandrel-proto
may_see spandrel-storage spandrel-block spandrel-proto
may_see spandrel-rocks spandrel-storage spandrel-block spandrel-proto
may_see spandrel-collector spandrel-storage spandrel-block spandrel-proto
may_see spandrel-query spandrel-storage spandrel-block spandrel-proto
may_see spandrel-ui
may_see spandrel-demo

never_links spandrel-proto axum tonic hyper rocksdb
never_links spandrel-block axum tonic hyper rocksdb tokio
never_links spandrel-storage axum tonic hyper rocksdb
never_links spandrel-collector rocksdb
never_links spandrel-query rocksdb
never_links spandrel-rocks axum tonic hyper

# What tests may do to a store, no binary carries.
if cargo tree "${CARGO_LOCKED[@]}" -p spandrel -e normal,features -i spandrel-storage | grep -q failpoints; then
    complain "spandrel is built with the feature failpoints of spandrel-storage, which is for tests alone"
fi

((failures == 0)) || die "$failures dependencies point the wrong way (ARCHITECTURE.md draws the right one)"
