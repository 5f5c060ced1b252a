#!/usr/bin/env bash
# Builds the image of operator, worker and kubectl plugin without a container engine: build.sh [--strip] BINARIES NAME OUTPUT.tar
#
# BINARIES is a folder with tidemark-worker, tidemark-operator and kubectl-tidemark, like target/release; without the last, the image has no plugin.
# NAME is the image's name with its tag. OUTPUT.tar becomes a docker-archive: `podman load`, `docker load` and `ctr images import` take it.
# The same binaries on the same machine give the same image. Needs buildah, binutils, ca-certificates and tzdata (Debian's).
set -euo pipefail

usage() {
    sed -n '2,6s/^# \{0,1\}//p' "$0" >&2
    exit 2
}

strip=false
if [ "${1:-}" = --strip ]; then
    strip=true
    shift
fi
[ $# -eq 3 ] || usage
binaries=$1 name=$2 output=$(realpath -m "$3")
here=$(dirname "$(realpath "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/rootfs

fail() {
    echo "build.sh: $*" >&2
    exit 1
}

# All that a program loads, at the paths where its loader looks: libraries and the loader itself.
libraries() {
    ldd "$1" 2>/dev/null | sed -nE 's/^.* => (\/[^ ]+) .*$/\1/p; s/^[[:space:]]*(\/[^ ]+) .*$/\1/p'
}

mkdir -p "$root"/{usr/bin,etc/ssl/certs,usr/lib/ssl,usr/share,var/lib/tidemark,tmp}
for program in tidemark-worker tidemark-operator kubectl-tidemark; do
    if [ ! -x "$binaries/$program" ]; then
        if [ "$program" = kubectl-tidemark ]; then
            echo "build.sh: $binaries/$program is missing: the image has no kubectl plugin" >&2
            continue
        fi
        fail "$binaries/$program is missing: build it, or name another folder"
    fi
    if ldd "$binaries/$program" 2>/dev/null | grep -q 'not found'; then
        fail "$program needs a library that isn't here: $(ldd "$binaries/$program" | grep 'not found')"
    fi
    cp -L "$binaries/$program" "$root/usr/bin/$program"
    if $strip; then
        strip --strip-all "$root/usr/bin/$program"
    fi
    while read -r library; do
        install -D -m 0755 "$(realpath "$library")" "$root$library"
    done < <(libraries "$binaries/$program")
done

bundle=/etc/ssl/certs/ca-certificates.crt
[ -s "$bundle" ] || fail "$bundle is missing: install ca-certificates"
cp -L "$bundle" "$root$bundle"
# Where Debian's OpenSSL looks by itself.
ln -s "$bundle" "$root/usr/lib/ssl/cert.pem"
[ -d /usr/share/zoneinfo ] || fail "/usr/share/zoneinfo is missing: install tzdata"
cp -a /usr/share/zoneinfo "$root/usr/share/zoneinfo"
rm -rf "$root"/usr/share/zoneinfo/{posix,right,localtime,posixrules}

printf 'root:x:0:0::/:/sbin/nologin\ntidemark:x:65532:65532::/:/sbin/nologin\n' >"$root/etc/passwd"
printf 'root:x:0:\ntidemark:x:65532:\n' >"$root/etc/group"
echo 'hosts: files dns' >"$root/etc/nsswitch.conf"

find "$root" -type d -exec chmod 0755 {} +
find "$root" -type f -not -path '*/bin/*' -not -name '*.so*' -exec chmod 0644 {} +
chmod 0755 "$root"/usr/bin/*
chmod 1777 "$root/tmp"
chown -R 0:0 "$root" 2>/dev/null || true
chown 65532:65532 "$root/var/lib/tidemark" 2>/dev/null || true
find "$root" -exec touch -h -d @0 {} +

version=$(sed -n 's/^appVersion: *//p' "$here/../../charts/tidemark/Chart.yaml")
revision=$(git -C "$here" rev-parse HEAD 2>/dev/null || echo unknown)
image() { # buildah with a store of its own, so that nothing stays behind
    buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"
}
cp "$here/Containerfile" "$work/Containerfile"
image bud --quiet --isolation chroot --timestamp 0 --build-arg "VERSION=$version" --build-arg "REVISION=$revision" \
    --tag "$name" "$work" >/dev/null
mkdir -p "$(dirname "$output")"
rm -f "$output"
image push --quiet "$name" "docker-archive:$output:$name" >/dev/null
printf '%s %s MiB in %s\n' "$name" "$(awk "BEGIN{printf \"%.1f\", $(stat -c %s "$output") / 1048576}")" "$output"
