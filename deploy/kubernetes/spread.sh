#!/usr/bin/env bash
# Prints which engine each torrent belongs to:
#
#   spread.sh REPLICAS TORRENT-OR-INFO-HASH...      prints lines "ENGINE TORRENT"
#
# Rendezvous hashing: the engine whose number gives the highest hash with the info-hash gets the torrent. All engines get
# equal shares, and a new engine takes over only its own share.
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
