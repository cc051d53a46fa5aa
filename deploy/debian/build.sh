#!/usr/bin/env bash
# Builds the packages `ringseed` and `ringseed-tracker` into target/debian with cargo-deb (`cargo install cargo-deb`).
# PROFILE=dev packages the output of `cargo build`, for tests.
set -euo pipefail
cd "$(dirname "$0")/../.."

profile=${PROFILE:-release}
target=${CARGO_TARGET_DIR:-target}
out=target/debian-assets
cargo build --locked --profile "$profile" -p ringseed -p ringseed-tracker
case $profile in dev) bin=$target/debug ;; *) bin=$target/$profile ;; esac

# The programs print their own manual pages and completions.
rm -rf "$out"
mkdir -p "$out"
install -m 755 "$bin/ringseed" "$bin/ringseed-tracker" "$out/"
"$bin/ringseed" man >"$out/ringseed.1"
"$bin/ringseed-tracker" --man >"$out/ringseed-tracker.1"
for shell in bash zsh fish; do
    "$bin/ringseed" completions $shell >"$out/ringseed.$shell"
    "$bin/ringseed-tracker" --completions $shell >"$out/ringseed-tracker.$shell"
done
for package in ringseed ringseed-tracker; do
    cargo deb --no-build -p "$package" --output "target/debian/"
done
