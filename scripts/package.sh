#!/usr/bin/env bash
# Packs the release binary for machines that have no compiler.
#
#   scripts/package.sh                    build, then pack into target/package
#   scripts/package.sh BINARY FOLDER      pack this binary into that folder; builds nothing
#
# It leaves a tarball (stripped binary, systemd unit, completions, manual page), a Debian package where
# `dpkg-deb` is installed, a folder from which `docker build` makes an image without compiling, and
# SHA256SUMS. The same commit and binary give the same bytes: files are sorted, times are the commit's.

. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
cd "$ROOT"

architecture() { # of the packages' names: as Debian says it
    case "$(uname -m)" in
        x86_64) echo amd64 ;;
        aarch64) echo arm64 ;;
        *) uname -m ;;
    esac
}

version() { sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1; }

commit_time() { git log -1 --format=%ct 2>/dev/null || echo 0; }

# Installs the files of both packages below ROOT.
lay_out() { # BINARY ROOT
    local binary="$1" root="$2" spandrel="$2/usr/bin/spandrel"
    install -D -m 755 "$binary" "$spandrel"
    strip --strip-all "$spandrel"
    install -D -m 644 packaging/spandrel.service "$root/usr/lib/systemd/system/spandrel.service"
    install -D -m 644 packaging/spandrel.default "$root/etc/default/spandrel"
    install -D -m 644 LICENSE "$root/usr/share/doc/spandrel/copyright"
    install -D -m 644 README.md "$root/usr/share/doc/spandrel/README.md"
    install -d "$root/usr/share/man/man1" "$root/usr/share/bash-completion/completions" \
        "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d"
    "$spandrel" manual | gzip -9n >"$root/usr/share/man/man1/spandrel.1.gz"
    "$spandrel" completions bash >"$root/usr/share/bash-completion/completions/spandrel"
    "$spandrel" completions zsh >"$root/usr/share/zsh/vendor-completions/_spandrel"
    "$spandrel" completions fish >"$root/usr/share/fish/vendor_completions.d/spandrel.fish"
    chmod -R u=rwX,go=rX "$root"
}

tarball() { # ROOT NAME FOLDER
    tar --create --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
        --transform "s,^\.,$2," --directory "$1" . | gzip -9n >"$3/$2.tar.gz"
}

# The Debian packages of the libraries to which the binary is linked.
depends() { # ROOT
    local found=''
    if have dpkg-shlibdeps; then
        mkdir -p "$work/debian"
        printf 'Source: spandrel\n\nPackage: spandrel\nArchitecture: any\n' >"$work/debian/control"
        found="$( (cd "$work" && dpkg-shlibdeps -O "$1/usr/bin/spandrel" 2>/dev/null) | sed -n 's/^shlibs:Depends=//p')"
    fi
    echo "${found:-libc6, libgcc-s1, libstdc++6}"
}

debian() { # ROOT NAME FOLDER
    local root="$1"
    if ! have dpkg-deb; then
        say "SKIPPED: the Debian package; dpkg-deb is not installed here"
        return
    fi
    mkdir "$root/DEBIAN"
    cat >"$root/DEBIAN/control" <<CONTROL
Package: spandrel
Version: $(version)
Architecture: $(architecture)
Maintainer: Spandrel maintainers <maintainers@localhost>
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: $(depends "$root")
Section: net
Priority: optional
Description: distributed tracing backend in one binary
 Collector, store, query and web UI for OpenTelemetry traces. What it has
 acknowledged is on disk.
CONTROL
    echo /etc/default/spandrel >"$root/DEBIAN/conffiles"
    install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"
    dpkg-deb --root-owner-group -Zxz --build "$root" "$3/$2.deb" >/dev/null
    rm -rf "$root/DEBIAN"
}

# Writes the files that `docker build` needs for an image of the packed binary.
container() { # ROOT FOLDER
    install -D -m 755 "$1/usr/bin/spandrel" "$2/image/spandrel"
    install -m 644 LICENSE packaging/Dockerfile "$2/image/"
}

pack() { # BINARY FOLDER
    local binary="$1" folder="$2" name
    name="spandrel-$(version)-linux-$(architecture)"
    mkdir -p "$folder"
    rm -rf "$folder/image"
    say "Packing $("$binary" --version | sed -n 1p)"
    lay_out "$binary" "$work/root"
    tarball "$work/root" "$name" "$folder"
    debian "$work/root" "$name" "$folder"
    container "$work/root" "$folder"
    (cd "$folder" && find . -type f ! -name SHA256SUMS -printf '%P\0' | sort -z | xargs -0 sha256sum >SHA256SUMS)
    note "in $folder:"
    (cd "$folder" && du -h --apparent-size ./*.tar.gz ./*.deb image/spandrel 2>/dev/null | while read -r size file; do note "$size  ${file#./}"; done)
}

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(commit_time)}"
export SOURCE_DATE_EPOCH
case $# in
    0)
        scripts/build.sh
        pack "$TARGET/release/spandrel" "$TARGET/package"
        ;;
    2) pack "$1" "$2" ;;
    *) die "scripts/package.sh, or scripts/package.sh BINARY FOLDER" ;;
esac
