#!/usr/bin/env bash
# Compiles RocksDB once and keeps the archive outside the clone.
#
# Left to itself, cargo compiles RocksDB's 340 C++ files for each profile and each target folder:
# 10 to 18 minutes on two cores, every time. The archive depends on none of that, only on the
# version, the features, the CPU flags and the compiler, so those make the key of one cached copy.
#
#   scripts/rocksdb.sh          compile if absent; tell cargo about it (.cargo/rocksdb.toml)
#   scripts/rocksdb.sh --env    the same, and print the exports for builds elsewhere
#   scripts/rocksdb.sh --key    print the folder of the archive, compile nothing

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

SOURCES=340 # for the progress line only
FEATURES='bzip2|io-uring|jemalloc|lto|lz4|mt_static|rtti|snappy|zlib|zstd' # those that change the archive

# The flags that reach the C++ compiler: RUSTFLAGS replaces .cargo/config.toml, as it does in cargo.
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

# What the archive depends on, one fact a line.
facts() {
    sed -n '/^name = "librocksdb-sys"$/,/^$/p' "$ROOT/Cargo.lock" | grep -E '^(version|checksum) '
    grep -E '^rocksdb *=' "$ROOT/Cargo.toml" | grep -oE "\"($FEATURES)\"" | sort
    rustc -vV | grep '^host: '
    cpu_flags
    "${CXX:-c++}" --version | sed -n 1p
    echo "CXXFLAGS ${CXXFLAGS:-}"
}

folder() {
    local version
    version="$(sed -n 's/^version = "\(.*\)"$/\1/p' <<<"$1")"
    [[ -n "$version" ]] || die "Cargo.lock names no librocksdb-sys: is this the whole workspace?"
    printf '%s/rocksdb-%s-%s\n' "$CACHE" "$version" "$(short_hash <<<"$1")"
}

# Says every half minute how far the compiler is: a quarter of an hour of silence looks like a hang.
progress() {
    local objects began=$SECONDS silence
    exec {silence}<> <(:) 9>&-
    until read -rt 30 -u "$silence"; do # a sleep that dies with this shell
        objects="$( (find "$1" -name '*.o' -path '*librocksdb-sys*' 2>/dev/null || true) | wc -l)"
        note "$objects of about $SOURCES files compiled after $(((SECONDS - began) / 60)) min"
    done
}

compile() {
    local facts="$1" dir="$2" build="$CACHE/rocksdb-build" archive ticker status=0
    say "Compiling RocksDB, once for this machine: 10 to 18 minutes on two cores, less on more"
    note "kept in $dir"
    progress "$build" &
    ticker=$!
    # ROCKSDB_COMPILE overrides an archive that the environment or cargo's configuration names.
    (cd "$ROOT" && env -u ROCKSDB_LIB_DIR -u ROCKSDB_STATIC ROCKSDB_COMPILE=1 \
        cargo build "${CARGO_LOCKED[@]}" --profile rocksdb -p librocksdb-sys --target-dir "$build") >&2 || status=$?
    kill "$ticker" 2>/dev/null || true
    wait "$ticker" 2>/dev/null || true
    ((status == 0)) || die "RocksDB did not compile (see above). \`scripts/setup.sh run\` installs what it needs."
    archive="$(find "$build" -name librocksdb.a -path '*librocksdb-sys*' -printf '%T@ %p\n' 2>/dev/null \
        | sort -n | tail -n 1 | cut -d' ' -f2- || true)"
    [[ -n "$archive" ]] || die "the build made no librocksdb.a under $build"
    keep "$archive" "$facts" "$dir"
    rm -rf "$build" # 1 GB that nobody needs again
}

# The folder appears whole or not at all.
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

# From now on every cargo command in this clone links the archive.
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
        if [[ ! -f "$dir/librocksdb.a" ]]; then compile "$facts" "$dir"; fi
        exec 9>&-
    fi
    tell_cargo "$dir"
    if [[ "$mode" == --env ]]; then
        printf "export ROCKSDB_LIB_DIR='%s'\nexport ROCKSDB_STATIC=1\n" "$dir"
    fi
}

main "$@"
