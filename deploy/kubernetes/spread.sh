#!/usr/bin/env bash
# Tells which of the engines each torrent belongs to:
#
#   spread.sh REPLICAS TORRENT-OR-INFO-HASH...      prints lines of "ENGINE TORRENT"
#
# The engine whose number makes the highest hash together with the info-hash has it. So every one of them gets as many, and
# when one is added, only the torrents that it gets move.
set -euo pipefail

replicas=${1:?the number of engines}
shift
for torrent; do
    if [[ $torrent =~ ^[0-9a-fA-F]{40}$ ]]; then
        hash=${torrent,,}
    else
        hash=$(ringseed show --json "$torrent" | sed -n 's/.*"info_hash": *"\([0-9a-f]*\)".*/\1/p')
        [ -n "$hash" ] || {
            echo "spread.sh: $torrent has no info-hash" >&2
            exit 1
        }
    fi
    best='' engine=0
    for ((candidate = 0; candidate < replicas; candidate++)); do
        weight=$(printf '%s-%d' "$hash" "$candidate" | sha1sum)
        if [[ $weight > $best ]]; then
            best=$weight engine=$candidate
        fi
    done
    echo "$engine $torrent"
done
