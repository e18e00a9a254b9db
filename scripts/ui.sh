#!/usr/bin/env bash
# Builds the web UI. npm runs only if its inputs have changed.
#
#   scripts/ui.sh build              ui/dist, from the lock file and the sources
#   scripts/ui.sh packages FOLDER    node_modules of any npm folder, from its lock file

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Stamps have the hash of the inputs. They are in node_modules, so they are removed with it.
up_to_date() { [[ "$(cat "$1" 2>/dev/null)" == "$2" ]]; } # STAMP HASH

packages() {
    local folder="$1" stamp="$1/node_modules/.spandrel-installed" hash
    hash="$( { node --version; cat "$folder/package-lock.json"; } | short_hash)"
    up_to_date "$stamp" "$hash" && return
    say "Installing npm packages for ${folder#"$ROOT/"} from its lock file"
    # Browsers come from the system (scripts/setup.sh), never from a download in an npm script.
    (cd "$folder" && PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund) >&2
    echo "$hash" >"$stamp"
}

# The hash of every file that npm may read for the build. The Rust crate beside it is not among them.
build_inputs() {
    (cd "$ROOT/ui" && find . \( -name node_modules -o -name dist -o -name embed \) -prune \
        -o -type f ! -name Cargo.toml -print0 | sort -z | xargs -0 sha256sum)
}

build() {
    local stamp="$ROOT/ui/node_modules/.spandrel-built" hash
    [[ -f "$ROOT/ui/package-lock.json" ]] || die "ui/package-lock.json is missing"
    packages "$ROOT/ui"
    hash="$(build_inputs | short_hash)"
    [[ -f "$ROOT/ui/dist/index.html" ]] && up_to_date "$stamp" "$hash" && return
    say "Building the web UI"
    (cd "$ROOT/ui" && npm run --silent build) >&2
    echo "$hash" >"$stamp"
}

case "${1:-}" in
    build) build ;;
    packages) packages "$(cd "${2:?which folder?}" && pwd)" ;;
    *) die "scripts/ui.sh build, or scripts/ui.sh packages FOLDER" ;;
esac
