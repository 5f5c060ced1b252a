#!/usr/bin/env bash
# Installs what building and testing need, where it is missing: Debian's packages, by apt-get.
set -euo pipefail

missing=()
need() { # command package
    command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}
header() { # file package
    compgen -G "$1" >/dev/null || missing+=("$2")
}

need cc gcc
need c++ g++
need make make
need cmake cmake
need pkg-config pkg-config
need openssl openssl
need java default-jre-headless
need mvn maven
need go golang-go
need containerd containerd
need runc runc
need buildah buildah
need iptables iptables
need conntrack conntrack
need ethtool ethtool
need socat socat
need ip iproute2
need setsid util-linux
need lua5.4 lua5.4
need jq jq
header '/usr/include/openssl/ssl.h' libssl-dev
header '/usr/include/*/curl/curl.h' libcurl4-openssl-dev
header '/usr/include/zlib.h' zlib1g-dev
header /usr/lib/cni/bridge containernetworking-plugins

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
fi

if ((${#missing[@]})); then
    echo "setup: installing ${missing[*]}"
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}"
fi

# promtool alone: Debian's package prometheus would start a server besides.
if ! command -v promtool >/dev/null 2>&1; then
    echo "setup: installing promtool"
    unpacked=$(mktemp -d)
    trap 'rm -rf "$unpacked"' EXIT
    download() { (cd "$unpacked" && apt-get download -qq -o APT::Sandbox::User=root prometheus); }
    download || { "${as_root[@]}" apt-get update -qq && download; }
    dpkg-deb -x "$unpacked"/prometheus_*.deb "$unpacked/root"
    "${as_root[@]}" install -D -m 0755 "$unpacked/root/usr/bin/promtool" /usr/local/bin/promtool
fi

if ! command -v cargo >/dev/null 2>&1; then
    echo "setup: cargo is missing: install Rust 1.93 or newer (https://rustup.rs)" >&2
    exit 1
fi
