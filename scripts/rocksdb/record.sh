#!/usr/bin/env bash
# Runs in place of the C++ compiler during librocksdb-sys's build script, and records how that script would have
# compiled RocksDB: the source in `sources`, all other arguments in `flags`, one a line. It compiles no source of
# RocksDB; scripts/rocksdb.sh does that afterwards, several sources at a time. All other calls (queries of the
# compiler's name and flags) go to the real compiler.
#
# Environment: RECORD_DIR, the folder of the two files and `empty.o`; RECORD_CXX, the real compiler.

set -euo pipefail

source='' object='' flags=()
for ((at = 1; at <= $#; at++)); do
    argument="${!at}"
    case "$argument" in
        -o)
            at=$((at + 1))
            object="${!at}"
            ;;
        -c) ;;
        rocksdb/*.cc | build_version.cc) source="$argument" ;;
        *) flags+=("$argument") ;;
    esac
done

if [[ -z "$source" || -z "$object" ]]; then
    exec "$RECORD_CXX" "$@"
fi
# The build script compiles in parallel. The kernel does not split one short append.
printf '%s\n' "$source" >>"$RECORD_DIR/sources"
printf '%s\n' "${flags[@]}" >"$RECORD_DIR/flags.$$"
mv "$RECORD_DIR/flags.$$" "$RECORD_DIR/flags"
cp "$RECORD_DIR/empty.o" "$object"
