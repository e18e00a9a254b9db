#!/usr/bin/env bash
# House rules that no compiler checks. Each complaint says what to do.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

LONG=600     # lines from which a file is asked whether it is still one room
TOO_LONG=900 # lines at which it is not

failures=0
complain() {
    note "$1"
    failures=$((failures + 1))
}

# Tracked files and new ones that nobody ignores.
sources() { git ls-files -z --cached --others --exclude-standard -- "$@" | while IFS= read -rd '' file; do
    [[ -f "$file" ]] && printf '%s\n' "$file"
done; }

module_docs() {
    local file
    for file in $(sources '*.rs'); do
        [[ "$(head -c 3 "$file")" == '//!' ]] || complain "$file: begin with //! what this is for, and what it is not for"
    done
}

bounded_queues() {
    local hit
    while IFS= read -r hit; do
        complain "$hit: an unbounded queue turns load into memory; give it a bound and say what happens when it is full"
    done < <(sources '*.rs' | xargs grep -nE 'unbounded_channel\b|\bunbounded(::<[^>]*>)?\(\)' | cut -d: -f1,2 || true)
}

file_lengths() {
    local file lines
    for file in $(sources '*.rs' '*.ts' '*.tsx' '*.css' '*.py' '*.mjs' '*.js' '*.sh'); do
        lines="$(wc -l <"$file")"
        if ((lines > TOO_LONG)); then
            complain "$file: $lines lines; split it by purpose (at most $TOO_LONG)"
        elif ((lines > LONG)); then
            note "warning: $file: $lines lines; is it still one room with one purpose?"
        fi
    done
}

# A document that names a file or a command which is not there sends its reader astray.
documents() {
    local document path target
    for document in README.md CONTRIBUTING.md ARCHITECTURE.md; do
        [[ -f "$document" ]] || continue
        # Backticked words with a slash, except API paths and media types.
        for path in $(grep -oE '`[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*/?`' "$document" | tr -d '`' | grep / | sort -u || true); do
            [[ -d "${path%%/*}" || "$path" =~ \.(rs|ts|tsx|md|toml|sh|service|yaml|yml|json|py)$ ]] || continue
            [[ -e "$path" ]] || git check-ignore -q "$path" || complain "$document names $path, which does not exist"
        done
        for target in $(grep -oE '(^|`|[^a-z])make [a-z-]+`?' "$document" | grep -E '(^|`)make' | grep -oE 'make [a-z-]+' | cut -d' ' -f2 | sort -u || true); do
            grep -qE "^$target:" Makefile || complain "$document says \`make $target\`, which the Makefile lacks"
        done
    done
}

module_docs
bounded_queues
file_lengths
documents
((failures == 0)) || die "$failures things to tidy"
