#!/usr/bin/env bash
# Compiles RocksDB once and keeps the archive outside the clone.
#
# Left to itself, cargo compiles RocksDB's 343 C++ files one by one, for each profile and each target
# folder. Nearly all of that time is spent on reading the same headers again. So the sources that cargo
# has fetched are compiled 24 at a time, as units that include one another's text, with exactly the
# flags of RocksDB's own build script: that script runs once with scripts/rocksdb/record.sh in the
# compiler's place, which writes the flags down. A unit that does not compile is compiled file by file.
#
#   scripts/rocksdb.sh          compile if absent; tell cargo about it (.cargo/rocksdb.toml)
#   scripts/rocksdb.sh --env    the same, and print the exports for builds elsewhere
#   scripts/rocksdb.sh --key    print the folder of the archive, compile nothing
#
# The archive serves every profile. SPANDREL_PROFILE (dev unless said) is the profile in which the
# build script and its own dependencies are compiled, so that the build that follows finds them done.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

UNIT_FILES=24     # sources of one unit: 15 units. Twelve cost a sixth more CPU time
UNIT_MEMORY=2000  # MB that one unit may take while it is compiled
FEATURES='bzip2|io-uring|jemalloc|lto|lz4|mt_static|rtti|snappy|zlib|zstd' # those that change the archive

compiler() { printf '%s\n' "${CXX:-c++}"; }

# The flags for the C++ compiler. As in cargo, RUSTFLAGS replaces .cargo/config.toml.
cpu_flags() {
    local flags=''
    if [[ -v CARGO_ENCODED_RUSTFLAGS ]]; then
        flags="$CARGO_ENCODED_RUSTFLAGS"
    elif [[ -v RUSTFLAGS ]]; then
        flags="$RUSTFLAGS"
    elif [[ "$(rustc -vV)" == *"host: x86_64-unknown-linux-gnu"* ]]; then
        flags="$(sed -n 's/^rustflags *= *//p' "$ROOT/.cargo/config.toml")"
    fi
    tr -d '[]",' <<<"$flags" | tr '\037' ' ' | sed 's/-C /-C/g' | tr ' ' '\n' \
        | grep -E '^-Ctarget-(cpu|feature)=' | sort -u || true
}

# Everything on which the archive depends, one fact a line, for its key.
facts() {
    sed -n '/^name = "librocksdb-sys"$/,/^$/p' "$ROOT/Cargo.lock" | grep -E '^(version|checksum) '
    grep -E '^rocksdb *=' "$ROOT/Cargo.toml" | grep -oE "\"($FEATURES)\"" | sort
    rustc -vV | grep '^host: '
    cpu_flags
    "$(compiler)" --version | sed -n 1p
    echo "CXXFLAGS ${CXXFLAGS:-}"
    echo "ROCKSDB_CXX_STD ${ROCKSDB_CXX_STD:-}"
    echo "units of $UNIT_FILES files"
}

folder() {
    local version
    version="$(sed -n 's/^version = "\(.*\)"$/\1/p' <<<"$1")"
    [[ -n "$version" ]] || die "Cargo.lock names no librocksdb-sys: is this the whole workspace?"
    printf '%s/rocksdb-%s-%s\n' "$CACHE" "$version" "$(short_hash <<<"$1")"
}

# Runs RocksDB's build script with the recorder in the compiler's place, which writes `sources` and `flags`.
record() { # WORK
    : >"$1/empty.cc"
    "$(compiler)" -c "$1/empty.cc" -o "$1/empty.o"
    # A new name each time makes cargo run the build script again.
    cp "$ROOT/scripts/rocksdb/record.sh" "$1/record.sh"
    # ROCKSDB_COMPILE overrides an archive that the environment or cargo's configuration names.
    (cd "$ROOT" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC ROCKSDB_COMPILE=1 \
        RECORD_DIR="$1" RECORD_CXX="$(compiler)" CXX="$1/record.sh" \
        cargo build "${CARGO_LOCKED[@]}" --profile "${SPANDREL_PROFILE:-dev}" -p librocksdb-sys \
        --target-dir "$TARGET") >&2 \
        || die "RocksDB's build script failed (see above). \`scripts/setup.sh run\` installs what it needs."
    [[ -s "$1/sources" && -s "$1/flags" ]] || die "RocksDB's build script compiled nothing; \`rm -rf $TARGET\` and try again"
}

# The folder of the sources: cargo unpacked them there, and the build script ran there.
sources_folder() {
    (cd "$ROOT" && cargo metadata "${CARGO_LOCKED[@]}" --format-version 1) \
        | grep -oE '"manifest_path":"[^"]*/librocksdb-sys-[^"]*/Cargo\.toml"' | cut -d'"' -f4 | xargs dirname
}

# The number of parallel compilers: one a core, fewer if memory is short.
parallel() {
    local cores memory
    cores="$(nproc)"
    memory=$(($(sed -n 's/^MemAvailable: *\([0-9]*\) kB/\1/p' /proc/meminfo) / 1024 / UNIT_MEMORY))
    ((memory < 1)) && memory=1
    echo $((cores < memory ? cores : memory))
}

# Compiles one unit, or each of its sources by itself if they conflict.
compile_unit() { # UNIT WORK: the unit is a list of sources
    local unit="$1" work="$2" source object flags
    mapfile -t flags <"$work/flags"
    sed 's/.*/#include "&"/' "$unit" >"$unit.cc"
    if "$(compiler)" "${flags[@]}" -w -c "$unit.cc" -o "$unit.o" 2>"$unit.log"; then return; fi
    note "${unit##*/}: its files do not compile together; one by one"
    rm -f "$unit.o"
    while IFS= read -r source; do
        object="$unit-$(tr '/' '_' <<<"$source").o"
        "$(compiler)" "${flags[@]}" -w -c "$source" -o "$object" 2>"$unit.log" || {
            cat "$unit.log" >&2
            return 1
        }
    done <"$unit"
}

# Compiles all units and prints progress after each: silence for minutes looks like a hang.
compile_units() { # WORK
    local work="$1" units unit began=$SECONDS done=0 running=0 jobs
    LC_ALL=C sort "$work/sources" | split -l "$UNIT_FILES" -d -a 3 - "$work/unit-"
    units=("$work"/unit-*)
    jobs="$(parallel)"
    for unit in "${units[@]}" ''; do
        while ((running > 0)) && { [[ -z "$unit" ]] || ((running >= jobs)); }; do
            wait -n || return 1
            running=$((running - 1))
            done=$((done + 1))
            note "RocksDB: $done of ${#units[@]} units compiled after $((SECONDS - began)) s"
        done
        [[ -n "$unit" ]] || break
        compile_unit "$unit" "$work" &
        running=$((running + 1))
    done
}

compile() { # FACTS FOLDER
    local facts="$1" dir="$2"
    say "Compiling RocksDB, once for this machine: 4 to 10 minutes on two cores, less on more"
    note "kept in $dir"
    work="$(mktemp -d "$CACHE/rocksdb-build.XXXXXX")"
    trap 'rm -rf "$work"' EXIT # also when a compiler fails, or Ctrl-C ends this
    record "$work"
    (cd "$(sources_folder)" && compile_units "$work") || die "RocksDB did not compile (see above). \`scripts/setup.sh run\` installs what it needs."
    ar crs "$work/librocksdb.a" "$work"/unit-*.o
    keep "$work/librocksdb.a" "$facts" "$dir"
}

# Renames a complete folder into place, so that no build finds half of one.
keep() {
    local archive="$1" facts="$2" dir="$3" temporary
    (($(nm "$archive" 2>/dev/null | grep -c ' U ZSTD_' || true) > 0)) || die "$archive was compiled without zstd: stored blocks would be unreadable"
    temporary="$(mktemp -d "$CACHE/rocksdb-new.XXXXXX")"
    cp "$archive" "$temporary/librocksdb.a"
    printf '%s\n' "$facts" >"$temporary/made-of.txt"
    chmod 755 "$temporary"
    rm -rf "$dir"
    mv -T "$temporary" "$dir"
}

# Writes the configuration by which every cargo command in this clone links the archive.
tell_cargo() {
    local file="$ROOT/.cargo/rocksdb.toml" text
    text="$(printf '# Written by scripts/rocksdb.sh; not committed.\n[env]\nROCKSDB_LIB_DIR = "%s"\nROCKSDB_STATIC = "1"\n' "$1")"
    if [[ "$(cat "$file" 2>/dev/null)" != "$text" ]]; then
        printf '%s\n' "$text" >"$file.$$" && mv "$file.$$" "$file"
    fi
}

main() {
    local mode="${1:-}" facts dir
    [[ "$mode" =~ ^(--env|--key|)$ ]] || die "unknown option $mode; use --env or --key, or nothing"
    facts="$(facts)"
    dir="$(folder "$facts")"
    if [[ "$mode" == --key ]]; then
        echo "$dir"
        return
    fi
    if [[ ! -f "$dir/librocksdb.a" ]]; then
        mkdir -p "$CACHE"
        exec 9>"$CACHE/rocksdb.lock"
        flock -n 9 || { say "Another shell is compiling RocksDB; waiting for it"; flock 9; }
        if [[ ! -f "$dir/librocksdb.a" ]]; then compile "$facts" "$dir" 9>&-; fi
        exec 9>&-
    fi
    tell_cargo "$dir"
    if [[ "$mode" == --env ]]; then
        printf "export ROCKSDB_LIB_DIR='%s'\nexport ROCKSDB_STATIC=1\n" "$dir"
    fi
}

main "$@"
