#!/usr/bin/env bash
# Runs the tests of ringseed-proto as an arm64 program, under QEMU where this machine is another. Needs the packages
# gcc-aarch64-linux-gnu, libc6-dev-arm64-cross and qemu-user, and `rustup target add aarch64-unknown-linux-gnu`.
set -euo pipefail
cd "$(dirname "$0")/../.."
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
if [ "$(uname -m)" != aarch64 ]; then
    # A processor with all extensions: the assembly of SHA-1 is run as well.
    export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu -cpu max"
fi
exec cargo test --target aarch64-unknown-linux-gnu -p ringseed-proto --lib "$@"
