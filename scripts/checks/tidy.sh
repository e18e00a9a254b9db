#!/usr/bin/env bash
# House rules that no compiler checks. Each complaint names the remedy.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

LONG=600     # lines from which a file is asked whether it is still one room
TOO_LONG=900 # lines at which it is not

failures=0
complain() {
    note "$1"
    failures=$((failures + 1))
}

# Tracked files, and new ones that are not ignored.
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
        # A generated file is as long as its source makes it.
        [[ "$(head -n 1 "$file")" == '// Generated from '* ]] && continue
        lines="$(wc -l <"$file")"
        if ((lines > TOO_LONG)); then
            complain "$file: $lines lines; split it by purpose (at most $TOO_LONG)"
        elif ((lines > LONG)); then
            note "warning: $file: $lines lines; is it still one room with one purpose?"
        fi
    done
}

# Documents must not name files or commands that do not exist.
documents() {
    local document path target
    for document in $(sources '*.md'); do
        # Backticked words with a slash, except API paths and media types.
        for path in $(backticked "$document" | grep / | sort -u || true); do
            [[ -d "${path%%/*}" || "$path" =~ $FILE_NAME ]] || continue
            exists "$path" "$(dirname "$document")" || complain "$document names $path, which does not exist"
        done
        for target in $(grep -oE '(^|`|[^a-z])make [a-z-]+`?' "$document" | grep -E '(^|`)make' | grep -oE 'make [a-z-]+' | cut -d' ' -f2 | sort -u || true); do
            grep -qE "^$target:" Makefile || complain "$document says \`make $target\`, which the Makefile lacks"
        done
        links "$document"
    done
}

FILE_NAME='\.(rs|ts|tsx|css|md|toml|sh|service|ya?ml|json|py|mjs|c|txt)$'
backticked() { grep -ohE '`[A-Za-z0-9_.][A-Za-z0-9_.-]*(/[A-Za-z0-9_.-]+)*/?`' "$@" | tr -d '`'; }
# Whether PATH exists below the root or one of the FOLDERs.
exists() { # PATH FOLDER...
    local path="$1" folder
    for folder in . "${@:2}"; do [[ -e "$folder/$path" ]] && return; done
    git check-ignore -q "$path"
}

# Checks the links of a document to files and to their headings.
links() { # DOCUMENT
    local link file anchor
    for link in $(grep -oE '\]\([^)#: ]*(#[^) ]*)?\)' "$1" | sed 's/^](//; s/)$//' | sort -u || true); do
        file="${link%%#*}" anchor="${link#"${link%%#*}"}"
        file="${file:+$(dirname "$1")/$file}"
        file="${file:-$1}"
        if [[ ! -e "$file" ]]; then
            complain "$1 links to $link, which does not exist"
        elif [[ -n "$anchor" && "$file" == *.md ]] && ! anchors "$file" | grep -qxF "$anchor"; then
            complain "$1 links to $link, a heading that $file lacks"
        fi
    done
}

# The anchors that GitHub generates for headings, and explicit ones.
anchors() {
    grep -E '^#+ ' "$1" | sed -E 's/^#+ //' | tr '[:upper:]' '[:lower:]' | sed -E 's/[^a-z0-9 _-]//g; s/ /-/g; s/^/#/' || true
    grep -oE '(id|name)="[^"]+"' "$1" | sed -E 's/.*"(.*)"/#\1/' || true
}

# Sources cite rules by document and heading.
cited_documents() {
    local file document anchor
    while IFS=: read -r file document; do
        anchor="${document#"${document%%#*}"}"
        document="${document%%#*}"
        if [[ ! -e "$document" ]]; then
            complain "$file cites $document, which does not exist"
        elif [[ -n "$anchor" ]] && ! anchors "$document" | grep -qxF "$anchor"; then
            complain "$file cites $document$anchor, a heading that it lacks"
        fi
    done < <(sources '*.rs' '*.ts' '*.tsx' '*.py' '*.sh' | xargs grep -oHE '\bdocs/[A-Za-z0-9_/-]+\.md(#[a-z0-9_-]+)?' | sort -u)
}

# A variable that tests read has to be in a document, or users cannot find it.
test_variables() {
    local variable
    for variable in $(sources 'tests/*.rs' | xargs grep -ohE '(number|var|var_os)\("SPANDREL_[A-Z_]+' | cut -d'"' -f2 | sort -u); do
        sources '*.md' | xargs grep -qF "$variable" || complain "tests read $variable: name it in CONTRIBUTING.md or docs/testing.md"
    done
}

# Paths in module comments have to exist, relative to the root, the crate, or a folder above the file.
module_paths() {
    local file path folder folders
    while IFS=: read -r file path; do
        folder="${file%/*}"
        folders=("${file%%/src/*}/src")
        while [[ "$folder" == */* ]]; do
            folders+=("$folder")
            folder="${folder%/*}"
        done
        exists "$path" "${folders[@]}" "$folder" || complain "$file names $path in its first comment, which does not exist"
    done < <(sources '*.rs' | xargs grep -HE '^ *//!' | sed -E 's/^([^:]+): *\/\/!/\1:/' \
        | awk -F: '{ file = $1; text = substr($0, length(file) + 2)
            while (match(text, /`[A-Za-z0-9_.-]+(\/[A-Za-z0-9_.-]+)*\/?`/)) {
                print file ":" substr(text, RSTART + 1, RLENGTH - 2); text = substr(text, RSTART + RLENGTH) } }' \
        | grep -E ':(.*\.(rs|md|sh|c|toml)|.*/|(proto|storage|collector|query|ui|src|tests|benches|scripts|docs)/.*)$' | sort -u)
}

module_docs
bounded_queues
file_lengths
documents
module_paths
cited_documents
test_variables
((failures == 0)) || die "$failures things to tidy"
