#!/usr/bin/env bash
# Installs what the tests need (as root on Debian), then runs every check and test.
set -euo pipefail
cd "$(dirname "$0")/../.."

if [ "${CI:-}" = true ]; then
    # Outside the checkout, so that a machine that ran before builds only what changed.
    export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/ringseed/target}"
fi

packages=(aria2 gcc iproute2 microsocks openssl opentracker prometheus python3-libtorrent python3-venv
    qbittorrent-nox rtorrent strace systemd transmission-cli transmission-daemon wget)
command -v kubectl >/dev/null || packages+=(kubernetes-client)
# Some builds of nodejs bring npm themselves.
command -v npm >/dev/null || packages+=(nodejs npm)
# The window, on a display that is not there.
packages+=(dbus fonts-dejavu-core libx11-xcb1 libxcursor1 libxi6 libxkbcommon-x11-0 xdotool xvfb)
missing=()
for package in "${packages[@]}"; do
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages: ${missing[*]}; install them with: sudo apt-get install ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    # The packages' services are not wanted: the tests start their own instances.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' >"$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
    apt-get update -q
    apt-get install -q -y --no-install-recommends "${missing[@]}"
fi

# Clients from Python's registry, for the tests of the RPC, and the schemas of Kubernetes.
venv="${CARGO_TARGET_DIR:-target}/rpc-venv"
if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -c 'import kubernetes_validate, qbittorrentapi, transmission_rpc' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet 'kubernetes-validate>=1.31' 'transmission-rpc==7.*' 'qbittorrent-api>=2025'
fi

npm="${CARGO_TARGET_DIR:-target}/rpc-npm"
if [ ! -d "$npm/node_modules/@ctrl/transmission" ]; then
    mkdir -p "$npm"
    npm install --prefix "$npm" --no-audit --no-fund --silent '@ctrl/transmission@7'
fi

# Many connections and mapped files at once.
ulimit -n "$(ulimit -Hn)" || true

step() {
    echo "== $*"
    "$@"
}

step cargo fmt --all --check
step cargo clippy --workspace --all-targets --locked -- -D warnings
if command -v cargo-deny >/dev/null; then
    step cargo deny check licenses bans sources
    # The advisory database is fetched from outside, which not every machine can reach.
    cargo deny check advisories || echo "advisories were not checked: no database"
fi
step env RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --exclude ringseed-gui --no-deps --locked
if command -v cargo-nextest >/dev/null; then
    # It leaves out the examples in the documentation.
    step cargo test --workspace --exclude ringseed-gui --doc --locked
    step cargo nextest run --workspace --locked --no-fail-fast
else
    step cargo test --workspace --locked --no-fail-fast
fi
