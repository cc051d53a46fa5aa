#!/bin/sh
# Sets what seedbox users expect of a container (PUID, PGID, UMASK, secrets in files), then becomes the program.
set -eu

fail() {
    echo "entrypoint: $1" >&2
    exit 2
}

number() {
    case "$2" in
    '' | *[!0-9]*) fail "$1 is '$2', and must be a number" ;;
    esac
}

# FILE__RINGSEED_RPC_AUTH=/run/secrets/x puts what is in the file into RINGSEED_RPC_AUTH.
for name in $(env | sed -n 's/^FILE__\(RINGSEED_[A-Z0-9_]*\)=.*/\1/p'); do
    eval "file=\$FILE__$name"
    [ -r "$file" ] || fail "FILE__$name names $file, which cannot be read"
    value=$(cat "$file")
    export "$name=$value"
    unset "FILE__$name"
done

case "${UMASK:=022}" in
*[!0-7]* | ?????*) fail "UMASK is '$UMASK', and must be octal such as 022 or 002" ;;
esac
umask "$UMASK"

# Settings files that are there are used.
if [ -z "${RINGSEED_CONFIG:-}" ] && [ -f /config/ringseed.toml ]; then
    export RINGSEED_CONFIG=/config/ringseed.toml
fi
if [ -z "${RINGSEED_TRACKER_CONFIG:-}" ] && [ -f /config/tracker.toml ]; then
    export RINGSEED_TRACKER_CONFIG=/config/tracker.toml
fi

# Started with --user or by Kubernetes: somebody else has chosen who we are.
if [ "$(id -u)" -ne 0 ]; then
    exec "$@"
fi

number PUID "${PUID:=1000}"
number PGID "${PGID:=1000}"
# State is little and all ours; downloads may be millions of files, of which only the new volume's top is changed.
if [ -d /config ]; then
    find /config -xdev \( ! -user "$PUID" -o ! -group "$PGID" \) -exec chown -h "$PUID:$PGID" {} + ||
        echo "entrypoint: /config cannot be given to $PUID:$PGID" >&2
fi
if [ -d /downloads ] && { [ "$(stat -c %u /downloads)" -eq 0 ] || [ -z "$(ls -A /downloads)" ]; }; then
    chown "$PUID:$PGID" /downloads || echo "entrypoint: /downloads cannot be given to $PUID:$PGID" >&2
fi
exec setpriv --reuid "$PUID" --regid "$PGID" --clear-groups --no-new-privs "$@"
