#!/usr/bin/env bash
# Licences, banned and doubled crates, and sources of everything that is linked, and known
# vulnerabilities where the advisory database can be reached (deny.toml has the rules).

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

VERSION=0.20.2
PATIENCE=60 # seconds to fetch the advisory database; closed networks often swallow packets

cargo_tool cargo-deny "$VERSION" "2 to 5 minutes"
deny="$tool"

check() { "$deny" --log-level warn check --hide-inclusion-graph "$@"; }

check licenses bans sources

export GIT_TERMINAL_PROMPT=0
if timeout "$PATIENCE" "$deny" --log-level off fetch db >/dev/null 2>&1; then
    check advisories
elif compgen -G "${CARGO_HOME:-$HOME/.cargo}/advisory-dbs/*/crates" >/dev/null; then
    note "the advisory database could not be refreshed; checking against the copy on this machine"
    "$deny" --log-level warn --offline check --hide-inclusion-graph advisories
else
    say "SKIPPED: known vulnerabilities; the advisory database (github.com/rustsec/advisory-db) cannot be reached"
fi
