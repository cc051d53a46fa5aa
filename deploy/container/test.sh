#!/usr/bin/env bash
# Builds the images and tests the claims of the README, with podman and a transmission outside the container.
#
#   deploy/container/test.sh
#
# Needs podman, runc, transmission-daemon and transmission-cli, and root to change the owners of files. RUNTIME selects
# another runtime; RINGSEED_IMAGE and TRACKER_IMAGE select existing images to test.
set -euo pipefail
cd "$(dirname "$0")/../.."

runtime=(--runtime "${RUNTIME:-runc}")
# Also works on a machine that is itself a container.
memlock=$(ulimit -Hl)
[ "$memlock" = unlimited ] && memlock=-1 || memlock=$((memlock * 1024))
limits=(--ulimit nofile=20000:20000 --ulimit nproc=1000:1000)
flags=(--network=host "${limits[@]}")
engine_image=${RINGSEED_IMAGE:-}
tracker_image=${TRACKER_IMAGE:-}
profile=$PWD/deploy/container/seccomp.json
flat_profile=$PWD/deploy/kubernetes/base/seccomp.json
puid=1234 pgid=2345
# The capabilities that the entry point needs.
caps=(--cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add SETGID --cap-add SETUID)

work=$(mktemp -d)
name=ringseed-test-$$
transmission=
cleanup() {
    status=$?
    if [ $status -ne 0 ]; then
        for log in "$work"/*.log; do [ ! -e "$log" ] || { echo "--- $log"; tail -20 "$log"; }; done
        for each in engine tracker; do
            podman container exists "$name-$each" && { echo "--- $each"; podman logs --tail 20 "$name-$each"; }
        done
    fi
    [ -z "$transmission" ] || kill "$transmission" 2>/dev/null || true
    podman rm -f -t 0 "$name-engine" "$name-tracker" "$name-flat" >/dev/null 2>&1 || true
    rm -rf "$work"
    exit $status
}
trap cleanup EXIT

say() { echo "== $*"; }
die() {
    echo "FAILED: $*" >&2
    exit 1
}
# until WHAT COMMAND...: retries the command until it succeeds, for a minute.
until_true() {
    local what=$1 tries=0
    shift
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -lt 300 ] || die "waited in vain for $what"
        sleep 0.2
    done
}
free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'
}
run() {
    podman "${runtime[@]}" run "${flags[@]}" --ulimit memlock="$memlock" --read-only \
        --security-opt no-new-privileges --cap-drop ALL "${caps[@]}" "$@"
}

if [ -z "$engine_image" ]; then
    say "images build"
    for target in engine tracker; do
        podman build "${runtime[@]}" "${flags[@]}" -q -f deploy/container/Containerfile --format docker \
            --target $target -t "localhost/ringseed-test-$target" . >"$work/build-$target.log"
    done
    engine_image=localhost/ringseed-test-engine tracker_image=localhost/ringseed-test-tracker
fi
podman image inspect --format '{{.RepoTags}} {{.Size}} bytes' "$engine_image" "$tracker_image"

peer_port=$(free_port) rpc_port=$(free_port) tracker_port=$(free_port)
transmission_port=$(free_port) transmission_rpc=$(free_port)

say "with the default seccomp profile both exit with 1 and say what to do"
for image in "$engine_image" "$tracker_image"; do
    if run --rm "$image" >"$work/denied.log" 2>&1; then die "$image ran without io_uring"; else code=$?; fi
    grep -q 'deploy/container/seccomp.json' "$work/denied.log" || die "the message does not name the profile"
    [ "$code" = 1 ] || die "exit code $code"
    cat "$work/denied.log"
done

say "with the shipped one they start: read-only, not root, without capabilities"
mkdir "$work/config" "$work/downloads"
run -d --name "$name-tracker" --security-opt seccomp="$profile" \
    -e PUID=$puid -e PGID=$pgid -e RINGSEED_TRACKER_PORT="$tracker_port" "$tracker_image" >/dev/null
run -d --name "$name-engine" --security-opt seccomp="$profile" \
    -e PUID=$puid -e PGID=$pgid -e UMASK=027 -e TZ=Europe/Berlin \
    -e RINGSEED_LISTEN_PORT="$peer_port" -e RINGSEED_RPC=127.0.0.1:"$rpc_port" \
    -v "$work/config:/config" -v "$work/downloads:/downloads" "$engine_image" >/dev/null
inside() { podman "${runtime[@]}" exec "$name-engine" "$@"; }
until_true "the engine" inside ringseed health --ready
for each in engine tracker; do
    status=$(podman "${runtime[@]}" exec "$name-$each" cat /proc/1/status)
    echo "$status" | grep -E '^(Name|Uid|Gid|CapEff|NoNewPrivs|Seccomp):' | tr '\n' ';'
    echo
    grep -qP "^Uid:\t$puid\t$puid\t$puid\t$puid" <<<"$status" || die "$each runs as somebody else"
    grep -qP "^Gid:\t$pgid\t$pgid\t$pgid\t$pgid" <<<"$status" || die "$each runs in another group"
    grep -qP '^CapEff:\t0+$' <<<"$status" || die "$each has capabilities"
    grep -qP '^NoNewPrivs:\t1' <<<"$status" || die "$each may gain privileges"
    grep -qP '^Seccomp:\t2' <<<"$status" || die "$each runs without a filter"
done
if inside touch /usr/local/bin/x 2>/dev/null; then die "the root file system can be written"; fi
[ "$(inside date +%Z)" != UTC ] || die "TZ is not honoured"

say "the health checks turn healthy"
for each in engine tracker; do
    until_true "$each to be healthy" podman "${runtime[@]}" healthcheck run "$name-$each"
    podman inspect --format '{{.Name}}: {{.State.Health.Status}}' "$name-$each"
    [ "$(podman inspect --format '{{.State.Health.Status}}' "$name-$each")" = healthy ] || die "$each is not healthy"
done

say "it downloads from a transmission outside, through the tracker"
mkdir "$work/outside" "$work/transmission"
head -c 48M /dev/urandom >"$work/outside/from outside.bin"
# Transmission ignores loopback peers from a tracker.
address=$(hostname -I | cut -d' ' -f1)
announce=http://${address:?this machine has no address but loopback}:$tracker_port/announce
transmission-create -o "$work/one.torrent" -t "$announce" "$work/outside/from outside.bin" >/dev/null
transmission-daemon --foreground --config-dir "$work/transmission" --download-dir "$work/outside" --no-auth \
    --allowed 127.0.0.1 --port "$transmission_rpc" --peerport "$transmission_port" --no-dht --no-lpd --no-portmap \
    --no-utp >"$work/transmission.log" 2>&1 &
transmission=$!
remote() { transmission-remote "127.0.0.1:$transmission_rpc" "$@"; }
until_true "transmission" remote -si
remote -a "$work/one.torrent" -w "$work/outside" >/dev/null
# The number of seeders at the tracker.
seeders() {
    python3 -c 'import sys, urllib.request
page = urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/metrics").read().decode()
sys.exit(f"\nringseed_tracker_seeders {sys.argv[2]}\n" not in page)' "$tracker_port" "$1"
}
until_true "transmission to be known as a seed" seeders 1
began=$(date +%s%N)
podman "${runtime[@]}" exec -i "$name-engine" ringseed add - <"$work/one.torrent"
complete() { inside ringseed list --json | python3 -c 'import json,sys; t=json.load(sys.stdin); sys.exit(not t or any(x["leftUntilDone"] for x in t))'; }
until_true "the download" complete
echo "48 MiB in $((($(date +%s%N) - began) / 1000000)) ms"
cmp "$work/outside/from outside.bin" "$work/downloads/from outside.bin"

say "files belong to PUID:PGID, with UMASK"
owner=$(stat -c '%u:%g %a' "$work/downloads/from outside.bin")
echo "$owner"
[ "$owner" = "$puid:$pgid 640" ] || die "the file has $owner"
[ -z "$(find "$work/config" "$work/downloads" ! -user $puid)" ] || die "there are files of others"

say "it seeds to that transmission"
mkdir "$work/downloads/seeded"
head -c 48M /dev/urandom >"$work/downloads/seeded/from inside.bin"
chown -R $puid:$pgid "$work/downloads/seeded"
transmission-create -o "$work/two.torrent" -t "$announce" "$work/downloads/seeded/from inside.bin" >/dev/null
podman "${runtime[@]}" exec -i "$name-engine" ringseed add - --dir /downloads/seeded <"$work/two.torrent"
until_true "the check" complete
until_true "the engine to be known as a seed of both" seeders 3
began=$(date +%s%N)
remote -a "$work/two.torrent" -w "$work/outside" >/dev/null
until_true "transmission's download" sh -c \
    "transmission-remote 127.0.0.1:$transmission_rpc -t 2 -i | grep -q 'Percent Done: 100%'"
echo "48 MiB in $((($(date +%s%N) - began) / 1000000)) ms"
until_true "transmission's file" cmp "$work/downloads/seeded/from inside.bin" "$work/outside/from inside.bin"

say "SIGTERM saves and stops in time"
for each in engine tracker; do
    began=$(date +%s%N)
    podman "${runtime[@]}" stop -t 10 "$name-$each" >/dev/null
    took=$((($(date +%s%N) - began) / 1000000))
    code=$(podman inspect --format '{{.State.ExitCode}}' "$name-$each")
    echo "$each: exit code $code after $took ms"
    [ "$code" = 0 ] || die "$each was killed"
done
podman "${runtime[@]}" start "$name-engine" >/dev/null
until_true "the engine again" inside ringseed health --ready
inside ringseed list
complete || die "something was forgotten"
[ "$(inside ringseed list --json | python3 -c 'import json,sys; print(len(json.load(sys.stdin)))')" = 2 ] ||
    die "a torrent was forgotten"
podman "${runtime[@]}" stop -t 10 "$name-engine" >/dev/null

say "as Kubernetes starts it: another user from the start, no capabilities, the flat profile"
mkdir "$work/pod-config" "$work/pod-downloads"
chown 4321:4321 "$work/pod-config" "$work/pod-downloads"
caps=()
run -d --name "$name-flat" --user 4321:4321 --security-opt seccomp="$flat_profile" \
    -e RINGSEED_LISTEN_PORT="$peer_port" -e RINGSEED_RPC=127.0.0.1:"$rpc_port" \
    -v "$work/pod-config:/config" -v "$work/pod-downloads:/downloads" "$engine_image" >/dev/null
until_true "the engine as a pod" podman "${runtime[@]}" exec "$name-flat" ringseed health --ready
podman "${runtime[@]}" stop -t 10 "$name-flat" >/dev/null

caps=(--cap-add CHOWN --cap-add DAC_OVERRIDE --cap-add SETGID --cap-add SETUID)
say "a secret in a file is used, and a wrong setting is named"
printf 'me:from a file' >"$work/secret"
chmod 644 "$work/secret"
run --rm -e FILE__RINGSEED_RPC_AUTH=/secret -v "$work/secret:/secret:ro" "$engine_image" sh -c \
    'test "$RINGSEED_RPC_AUTH" = "me:from a file"' || die "the secret did not arrive"
if run --rm -e PUID=me "$engine_image" true 2>"$work/wrong.log"; then die "PUID=me was taken"; fi
cat "$work/wrong.log"

say "all as promised"
