#!/usr/bin/env bash
# Packs the binary under test and uses the packages as users would: unpacks, prints the version, reads the manual page,
# starts the server from the tarball, and packs again to compare every byte.

. "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
cd "$ROOT"

binary="${SPANDREL_BIN:?is not set; try: eval \"\$(make -s env)\"}"
work="$(mktemp -d)"
server=''
trap 'stop "$server"; rm -rf "$work"' EXIT

expect() { # WHAT COMMAND...
    local what="$1"
    shift
    "$@" >"$work/said" 2>&1 || {
        cat "$work/said" >&2
        die "package: $what"
    }
}

FILES=(
    usr/bin/spandrel usr/lib/systemd/system/spandrel.service etc/default/spandrel
    usr/share/man/man1/spandrel.1.gz usr/share/doc/spandrel/copyright
    usr/share/bash-completion/completions/spandrel usr/share/zsh/vendor-completions/_spandrel
    usr/share/fish/vendor_completions.d/spandrel.fish
)
has_all_files() { # ROOT
    local file
    for file in "${FILES[@]}"; do [[ -s "$1/$file" ]] || die "package: $file is missing or empty in $1"; done
}

scripts/package.sh "$binary" "$work/first" 2>"$work/log" || { cat "$work/log" >&2; die "packing failed"; }
scripts/package.sh "$binary" "$work/second" 2>>"$work/log"
expect "two packs of one binary differ" diff "$work/first/SHA256SUMS" "$work/second/SHA256SUMS"
(cd "$work/first" && expect "SHA256SUMS are wrong" sha256sum --check --strict SHA256SUMS)

mkdir "$work/tar"
tar -xzf "$work"/first/*.tar.gz -C "$work/tar" --strip-components=1
has_all_files "$work/tar"
unpacked="$work/tar/usr/bin/spandrel"
expect "the packed binary says another version" test "$("$unpacked" --version)" = "$("$binary" --version)"
expect "the packed binary has its symbols still" test -z "$(nm "$unpacked" 2>/dev/null)"
zcat "$work/tar/usr/share/man/man1/spandrel.1.gz" >"$work/spandrel.1"
expect "the manual page does not begin with a title" grep -q '^\.TH spandrel 1' "$work/spandrel.1"
expect "the manual page names no flag of serve" grep -rq -- 'data.*dir' "$work/spandrel.1"
expect "bash does not read the completions" bash -n "$work/tar/usr/share/bash-completion/completions/spandrel"
if have systemd-analyze; then
    # The unit names /usr/bin/spandrel, which does not exist here; everything else has to be valid.
    sed "s,/usr/bin/spandrel,$unpacked," "$work/tar/usr/lib/systemd/system/spandrel.service" >"$work/spandrel.service"
    expect "systemd does not take the unit" systemd-analyze verify "$work/spandrel.service"
fi

if have dpkg-deb; then
    expect "dpkg cannot read the package" dpkg-deb --info "$work"/first/*.deb
    dpkg-deb --extract "$work"/first/*.deb "$work/deb"
    has_all_files "$work/deb"
    expect "tarball and Debian package differ" diff -r "$work/tar" "$work/deb"
fi

start_server "$unpacked" --data-dir "$work/data" --http-addr 127.0.0.1:0 --otlp-grpc-addr 127.0.0.1:0 \
    --otlp-http-addr 127.0.0.1:0 --zipkin-addr 127.0.0.1:0 2>"$work/log" || { cat "$work/log" >&2; die "the packed server did not get ready"; }
expect "the packed server found nothing to answer" "$unpacked" services --server "http://${at[http]}"
note "tarball, Debian package and image folder are sound, and the packed server answers"
