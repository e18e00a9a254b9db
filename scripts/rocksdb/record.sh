#!/usr/bin/env bash
# Stands in for the C++ compiler while librocksdb-sys runs its build script, and writes down how
# that script would have compiled RocksDB: the source in `sources`, everything else of the command
# in `flags`, one argument a line. No RocksDB source is compiled here; scripts/rocksdb.sh does that
# afterwards, several sources at a time. All other calls (which compiler is this, does it know that
# flag) go to the real compiler.
#
# Environment: RECORD_DIR, where the two files and `empty.o` lie; RECORD_CXX, the real compiler.

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
# The build script compiles in parallel: one short append a call, which the kernel keeps whole.
printf '%s\n' "$source" >>"$RECORD_DIR/sources"
printf '%s\n' "${flags[@]}" >"$RECORD_DIR/flags.$$"
mv "$RECORD_DIR/flags.$$" "$RECORD_DIR/flags"
cp "$RECORD_DIR/empty.o" "$object"
